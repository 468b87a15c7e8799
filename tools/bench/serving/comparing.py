"""Several servers under the same load, in turn, round after round: the ratios of each round are the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.bench.figures import Bar, Figure
from tools.bench.serving.load import Loaded, LoadError, Request, load
from tools.bench.serving.servers import LOAD_CORE, SERVER_CORE

_IDLE_PERCENT, _LOOK_S, _LOOKS = 10.0, 0.2, 100


@dataclass(frozen=True)
class Sizes:
    """Seconds of each load, and rounds."""

    seconds: float
    rounds: int


FULL = Sizes(seconds=2.0, rounds=5)
QUICK = Sizes(seconds=1.0, rounds=2)


def rounds(
    requests: Sequence[Request], sizes: Sizes, folder: Path, say: Callable[[str], None]
) -> dict[str, list[Loaded]]:
    """What each request's server did in every round, every other round the other way round; a first is not counted."""
    found: dict[str, list[Loaded]] = {request.name: [] for request in requests}
    for number in range(-1, sizes.rounds):
        say(f"round {number + 1} of {sizes.rounds}: {', '.join(found)}")
        for request in requests if number % 2 else reversed(requests):
            seconds = 1.0 if number < 0 else sizes.seconds
            await_idle(SERVER_CORE)  # a slow peer still answers what it was asked last
            seen = load(request, seconds=seconds, core=LOAD_CORE, folder=folder)
            if number >= 0:
                found[request.name].append(seen)
    return found


def await_idle(core: int) -> None:
    """Wait until nothing much runs on a core. Raises LoadError if something does for 20 seconds."""
    for _ in range(_LOOKS):
        if psutil.cpu_percent(_LOOK_S, percpu=True)[core] < _IDLE_PERCENT:
            return
    raise LoadError(f"core {core} is busy with something else: nothing can be measured on it")


def figures(
    what: str,
    how: str,
    found: Mapping[str, Sequence[Loaded]],
    ours: str,
    bars: Mapping[str, tuple[str, float]],
) -> list[Figure]:
    """Requests a second of each server, and of each peer in `bars` (what it is called, the bar) the ratio."""
    rates = [
        Figure(f"{what}: {name}", how, "req/s", [each.per_second for each in seen])
        for name, seen in found.items()
    ]
    ratios = [
        Figure(
            f"{what}: against {called}",
            "of the same rounds",
            "x",
            [us.per_second / them.per_second for us, them in zip(found[ours], found[peer], strict=True)],
            Bar(bar, at_least=True),
        )
        for peer, (called, bar) in bars.items()
    ]
    return [*rates, *ratios]
