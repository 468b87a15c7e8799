"""What starting and importing cost, measured as whole processes: `make bench`.

Writes `docs/benchmarks.json` and the table of `docs/benchmarks.md`. Each figure is the median of its runs, with
their range, after one run that is not counted.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 11
HEAVY = ("mlflow", "prefect", "pulumi", "numpy", "pandas")
DEMO_FIGURES = ROOT / ".mlops" / "demo" / "figures.json"


@dataclass(frozen=True)
class Figure:
    """One measured figure: `unit` of median, least and most over `runs` runs, and the bar it is held against."""

    name: str
    command: str
    unit: str
    median: float
    least: float
    most: float
    runs: int
    bar: str


def timed(name: str, command: list[str], bar: str) -> Figure:
    """Run `command` RUNS times after a warm-up and return its wall-clock time in seconds."""
    seconds: list[float] = []
    for run in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        if run:
            seconds.append(time.perf_counter() - started)
    shown = " ".join(command).replace(f"{ROOT}/", "")
    middle = statistics.median(seconds)
    return Figure(
        name, shown, "s", round(middle, 3), round(min(seconds), 3), round(max(seconds), 3), RUNS, bar
    )


def heavy_imports() -> list[str]:
    """Return which of the heavy packages `import mlops_sdk` brings in."""
    code = f"import sys, mlops_sdk; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.replace("'", '"')))


def demo_figures() -> list[Figure]:
    """Return what the last `make demo` measured of itself, or nothing if none ran here."""
    if not DEMO_FIGURES.exists():
        return []
    seen = json.loads(DEMO_FIGURES.read_text())
    return [
        Figure(f["name"], "make demo", f["unit"], f["value"], f["value"], f["value"], 1, f["bar"])
        for f in seen
    ]


def machine() -> str:
    """Return the machine in one line."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{system}, {os.cpu_count()} cores, {memory_gb:.0f} GB, Python {platform.python_version()}"


def main() -> None:
    """Measure, print, and write both files."""
    python = sys.executable
    figures = [
        timed("mlops --help", [str(ROOT / ".venv/bin/mlops"), "--help"], "at most 0.4 s"),
        timed("import mlops_sdk", [python, "-c", "import mlops_sdk"], "at most 0.15 s"),
        timed("an empty Python process, for scale", [python, "-c", "pass"], ""),
        *demo_figures(),
    ]
    found = heavy_imports()
    rows = [
        f"| {f.name} | `{f.command}` | {f.median} {f.unit} | {f.least}-{f.most} | {f.runs} | {f.bar} |"
        for f in figures
    ]
    day = datetime.now(UTC).date().isoformat()
    page = [
        "# Benchmarks",
        "",
        f"Measured on {day} by `make bench`: {machine()}. Whole processes, wall clock, median and range.",
        "The rows of `make demo` are what its last run on this machine printed.",
        "",
        "| what | command | median | range | runs | bar |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Heavy packages ({', '.join(HEAVY)}) that `import mlops_sdk` brings in: {', '.join(found) or 'none'}.",
    ]
    (ROOT / "docs" / "benchmarks.md").write_text("\n".join(page) + "\n")
    result = {
        "machine": machine(),
        "day": day,
        "figures": [asdict(f) for f in figures],
        "heavy_imports": found,
    }
    (ROOT / "docs" / "benchmarks.json").write_text(json.dumps(result, indent=2) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
