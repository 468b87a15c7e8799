"""Two ways of doing the same, in turn, so that both see the same machine. Pure but for what it is given to run."""

from collections.abc import Callable, Sequence


def pairs(
    count: int,
    ours: Callable[[], float],
    bare: Callable[[], float],
    *,
    warm: bool,
    say: Callable[[str], None] = lambda _line: None,
) -> tuple[list[float], list[float]]:
    """Run both `count` times, every other pair the other way round; the seconds that each gave.

    With `warm`, a first pair is not counted.
    """
    first: list[float] = []
    second: list[float] = []
    for number in range(-warm, count):
        say(f"pair {number + 1} of {count}")
        ways = [(ours, first), (bare, second)]
        for run, found in reversed(ways) if number % 2 else ways:
            seconds = run()
            if number >= 0:
                found.append(seconds)
    return first, second


def ratios(ours: Sequence[float], bare: Sequence[float]) -> list[float]:
    """How many times as long the one took as the other, pair by pair."""
    return [one / other for one, other in zip(ours, bare, strict=True)]
