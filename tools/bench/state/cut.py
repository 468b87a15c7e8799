"""How long a cut takes beside many releases, and whether the size of its tables matters."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlops_sdk.release.tables import TableSpec
from tools.bench.figures import Bar, Figure
from tools.bench.state.releases import Releases, derived, forked
from tools.bench.state.server import Server, database
from tools.bench.state.watch import Watch, slowest, watching

_DERIVED = 50
_SMALL_ROWS = 10_000


@dataclass(frozen=True)
class Sizes:
    """Releases that exist already, rows of the large tables, and rounds."""

    existing: int
    large_rows: int
    rounds: int


FULL = Sizes(existing=300, large_rows=5_000_000, rounds=5)
QUICK = Sizes(existing=6, large_rows=100_000, rounds=2)
_SMALL_A_ROUND = 4  # a round forks the large tables once, which takes long


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of a cut with 50 reused derived tables and 2 staged forks."""
    with database(server, "bench_cut") as name:
        releases = Releases(server, name, durable=False)
        small, large = _small(), _large(sizes)
        _existing(releases, small, sizes, say)
        _live(releases, "small", small, _SMALL_ROWS, say)
        _live(releases, "large", large, sizes.large_rows, say)
        releases.durable = True
        seconds: dict[str, list[float]] = {"small": [], "large": []}
        for number in range(sizes.rounds):
            say(f"cut: round {number + 1} of {sizes.rounds}")
            for turn in range(_SMALL_A_ROUND):
                seconds["small"].append(_cut(releases, f"small-{number}-{turn}", small))
            seconds["large"].append(_cut(releases, f"large-{number}", large))
        watch = _watched(releases, small)
    return _figures(sizes, seconds), [
        f"A cut sends {len(watch.statements)} statements; the most time go to: {slowest(watch.statements)}."
    ]


def _small() -> list[TableSpec]:
    tables = [derived(f"table_{n:02}", rows=_SMALL_ROWS if n else 1000, ann=n == 0) for n in range(_DERIVED)]
    return [*tables, forked("users"), forked("carts")]


def _large(sizes: Sizes) -> list[TableSpec]:
    big = derived("big", rows=sizes.large_rows)
    return [*_small()[: _DERIVED - 1], big, forked("big_users"), forked("big_carts")]


def _existing(releases: Releases, tables: list[TableSpec], sizes: Sizes, say: Callable[[str], None]) -> None:
    for number in range(sizes.existing):
        if number % max(1, sizes.existing // 10) == 0:
            say(f"cut: {number} of {sizes.existing} releases are there")
        releases.prepare(f"old-{number}", tables)


def _live(
    releases: Releases, tag: str, tables: list[TableSpec], rows: int, say: Callable[[str], None]
) -> None:
    say(f"cut: loading release {tag}: {rows:,} rows a forked table")
    binding = releases.prepare(tag, tables)
    for spec in tables:
        if spec.kind == "forked":
            releases.load(binding, spec.name, rows)
    releases.make_live(tag)


def _cut(releases: Releases, tag: str, tables: list[TableSpec]) -> float:
    binding = releases.bind(tag, tables)
    releases.build(binding)
    releases.fork(binding)
    with releases.server.admin(releases.database) as conn:
        conn.execute("CHECKPOINT")  # what the fork wrote is no part of the cut
    started = time.perf_counter()
    releases.cut(binding)
    seconds = time.perf_counter() - started
    releases.drop(tag)
    return seconds


def _watched(releases: Releases, tables: list[TableSpec]) -> Watch:
    binding = releases.bind("watched", tables)
    releases.fork(binding)
    with watching(Watch()) as watch:
        releases.cut(binding)
    return watch


def _figures(sizes: Sizes, seconds: dict[str, list[float]]) -> list[Figure]:
    beside = f"50 reused tables, 2 staged forks, role and grants, beside {sizes.existing} releases"
    milliseconds = {kind: [s * 1000 for s in values] for kind, values in seconds.items()}
    ratio = statistics.median(milliseconds["large"]) / statistics.median(milliseconds["small"])
    return [
        Figure(f"cut, tables of {_SMALL_ROWS:,} rows", beside, "ms", milliseconds["small"], Bar(150)),
        Figure(f"cut, tables of {sizes.large_rows:,} rows", beside, "ms", milliseconds["large"], Bar(150)),
        Figure("cut, large tables against small ones", "medians of the same rounds", "x", [ratio], Bar(1.3)),
    ]
