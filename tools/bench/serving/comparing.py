"""Several servers under the same load, in turn, round after round: the ratios of each round are the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.figures import Bar, Figure
from tools.bench.serving.load import Loaded, Request, load
from tools.bench.serving.servers import LOAD_CORE


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
            seen = load(request, seconds=seconds, core=LOAD_CORE, folder=folder)
            if number >= 0:
                found[request.name].append(seen)
    return found


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
