"""What starting and importing cost, measured as whole processes: `make bench`.

Each figure is of runs after one that is not counted.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.figures import Bar, Figure
from tools.bench.page import ROOT, part, write

RUNS = 11
HEAVY = ("mlflow", "prefect", "pulumi", "numpy", "pandas")
DEMO_FIGURES = ROOT / ".mlops" / "demo" / "figures.json"


def timed(name: str, command: list[str], bar: Bar | None = None) -> Figure:
    """Run `command` RUNS times after a warm-up and return its wall-clock times in seconds."""
    seconds: list[float] = []
    for run in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        if run:
            seconds.append(time.perf_counter() - started)
    shown = " ".join([Path(command[0]).name, *command[1:]])
    return Figure(name, f"`{shown}`", "s", seconds, bar)


def heavy_imports() -> list[str]:
    """Return which of the heavy packages `import mlops_sdk` brings in."""
    code = f"import sys, mlops_sdk; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout.replace("'", '"')))


def demo_figures() -> list[Figure]:
    """Return what the last `make demo` measured of itself, or nothing if none ran here."""
    if not DEMO_FIGURES.exists():
        return []
    limits = {"s": 120.0, "MB": 1500.0}
    return [
        Figure(
            f["name"], "`make demo`", f["unit"], [f["value"]], Bar(limits[f["unit"]]) if f["bar"] else None
        )
        for f in json.loads(DEMO_FIGURES.read_text())
    ]


def main() -> None:
    """Measure, print, and write both files."""
    python = sys.executable
    figures = [
        timed("mlops --help", [str(ROOT / ".venv/bin/mlops"), "--help"], Bar(0.4)),
        timed("import mlops_sdk", [python, "-c", "import mlops_sdk"], Bar(0.15)),
        timed("an empty Python process, for scale", [python, "-c", "pass"]),
        *demo_figures(),
    ]
    found = ", ".join(heavy_imports()) or "none"
    notes = [
        "Whole processes, wall clock. The rows of `make demo` are what its last run on this machine printed.",
        f"Heavy packages ({', '.join(HEAVY)}) that `import mlops_sdk` brings in: {found}.",
    ]
    print(write("start", part("make bench", figures, notes)))


if __name__ == "__main__":
    main()
