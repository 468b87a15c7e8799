"""From the moment at which a release no longer passes its gate to the moment at which nobody gets it any more."""

import re
from dataclasses import dataclass
from typing import Any

from tools.bench.figures import Bar, Figure
from tools.bench.release.answers import gate_failed, left
from tools.bench.release.asking import answer, asking
from tools.bench.release.project import ENVIRONMENT, Project
from tools.bench.running import Found, Say

_SERVICE = "tools.bench.release.served:create_app"
_AT_MOST, _MIN_SAMPLES = 0.02, 20
_ASK_EVERY_S = 0.01
_FAILED = re.compile(r"failed at 50 % of traffic: error rate")


@dataclass(frozen=True)
class Sizes:
    """Releases that fail."""

    releases: int


FULL = Sizes(releases=8)
QUICK = Sizes(releases=1)


def measure(project: Project, sizes: Sizes, say: Say) -> Found:
    """Figures of a turn-back under load."""
    say("turn-back: a release that answers well")
    live = project.deploy(service=_SERVICE)
    seconds = []
    for number in range(sizes.releases):
        say(f"turn-back: release {number + 1} of {sizes.releases} that does not")
        # Not always at the same moment between two looks.
        seconds.append(_turn_back(project, fails_after=60 + 13 * number))
        if project.live != live:
            raise RuntimeError(f"{project.live} is live, not {live}")
    name = "a turn-back: from the failing gate to traffic back"
    how = "half of the traffic; 2 clients, each asking every 10 ms"
    return [Figure(name, how, "s", seconds, Bar(1, "most"))], [
        f"The gate is an error rate of at most {_AT_MOST:.0%}. It fails with the answer, seen by the clients, that is"
        " one error too many; traffic is back when the live release answers what was asked for after everything that"
        " the other one got. Gates are looked at every 0.25 s, and what was seen is kept before traffic turns."
    ]


def _turn_back(project: Project, *, fails_after: int) -> float:
    fields: dict[str, Any] = {
        "service": _SERVICE,
        "parameters": {"fails_after": fails_after},
        "verify": {"error_rate": {"at_most": _AT_MOST}, "min_samples": _MIN_SAMPLES},
        "shift": {"steps": [50, 100], "each": {"seconds": 120}},
    }
    path = project.manifest(**fields)
    with asking(project.router, answer, persons=range(10_000), pause_s=_ASK_EVERY_S, clients=2) as asked:
        done = project.mlops("deploy", path, "-e", ENVIRONMENT, "-m", "bench", code=20)
    if not _FAILED.search(done.err) or asked.problems:
        raise RuntimeError(f"it failed for another reason: {asked.problems[:3]} {done.err[-2000:]}")
    failing = project.tags[-1]
    failed_s = gate_failed(asked.answers, failing, at_most=_AT_MOST, min_samples=_MIN_SAMPLES)
    return left(asked.answers, failing) - failed_s
