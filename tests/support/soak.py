"""What long tests by chance have in common: a seed that can be given again, progress, and counts in a file.

`make soak` runs every test that is marked `soak`; `--seed N` repeats one, `--counts FILE` writes what each
has put into the fixture `counts`.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Report = Callable[[str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of tests by chance."""
    parser.addoption("--seed", type=int, help="seed of tests by chance; it is printed by each")
    parser.addoption("--history-s", type=float, default=600, help="seconds of a history of `make soak`")
    parser.addoption("--only", help="words that the names of the kill matrix' points have")
    parser.addoption("--counts", type=Path, help="file for the counts of tests marked soak, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """One seed for a run, in all of its processes."""
    if config.option.seed is None:
        config.option.seed = random.randrange(1_000_000_000)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed given, or that of this run; printed, so that a failure shows it."""
    found = int(request.config.getoption("--seed"))
    print(f"seed {found}")
    return found


@pytest.fixture(scope="session")
def all_counts(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The counts of all tests, written at the end, also when some failed."""
    found: dict[str, Any] = {}
    yield found
    path = request.config.getoption("--counts")
    if path is not None and found:
        path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@pytest.fixture
def counts(request: pytest.FixtureRequest, all_counts: dict[str, Any]) -> dict[str, Any]:
    """Where a test puts its figures."""
    found: dict[str, Any] = all_counts.setdefault(request.node.name, {})
    return found


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Prints a line of progress, with `-s` at once."""
    name = request.node.name
    return lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True)
