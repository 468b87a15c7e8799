"""What a question to a long ledger costs, as a whole process."""

from dataclasses import dataclass
from datetime import timedelta

from tools.bench.figures import Bar, Figure
from tools.bench.release.lengthen import lengthen
from tools.bench.release.project import ENVIRONMENT, Project
from tools.bench.running import Found, Say


@dataclass(frozen=True)
class Sizes:
    """Entries of the ledger, and runs of each question."""

    entries: int
    runs: int


FULL = Sizes(entries=10_000, runs=11)
QUICK = Sizes(entries=1_000, runs=2)


def measure(project: Project, sizes: Sizes, say: Say) -> Found:
    """Figures of each question; they take turns. What the ledger gets cannot be taken out again: measured last."""
    say(f"questions: a ledger of {sizes.entries:,} entries")
    with project.session() as session:
        releases = lengthen(session.ledger, to=sizes.entries)
        middle = session.ledger.entries()[sizes.entries // 2].at + timedelta(microseconds=1)
    project.mlops("ledger", "verify", ENVIRONMENT)
    at = f"{ENVIRONMENT}@{{{middle.isoformat()}}}"
    questions: dict[str, tuple[str, ...]] = {
        "`mlops history`": ("history", ENVIRONMENT),
        "`mlops history --all`": ("history", ENVIRONMENT, "--all"),
        "`mlops status`": ("status", ENVIRONMENT),
        "`mlops at` a time": ("at", at),
        "`mlops at` so many releases ago": ("at", f"{ENVIRONMENT}~{releases // 2}"),
        "`mlops --help`, for scale": ("--help",),
    }
    seconds: dict[str, list[float]] = {name: [] for name in questions}
    for number in range(-1, sizes.runs):  # the first is not counted
        for name, arguments in questions.items():
            took = project.mlops(*arguments).seconds
            if number >= 0:
                seconds[name].append(took)
    how = f"{sizes.entries:,} entries, whole process"
    return [
        Figure(name, how, "s", values, None if "scale" in name else Bar(0.8))
        for name, values in seconds.items()
    ], [
        f"The ledger has {releases:,} releases, of which all but the last few are retired; it passes `mlops ledger"
        " verify`. The services of the kept releases run and are asked by `mlops status`."
    ]
