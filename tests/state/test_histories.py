"""Nothing that a release accepted is lost, while releases change hands under writers that do not stop."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import Environment
from tests.support.history.history import Counts, History
from tests.support.history.writer import REFUSED, SERIALIZATION
from tests.support.releases import Releases
from tests.support.soak import Report

SECONDS = 12


def assert_refused_as_promised(counts: Counts) -> None:
    """A READ COMMITTED writer is only ever refused; a REPEATABLE READ one may have to begin again."""
    assert set(counts.read_committed_refusals) <= {REFUSED}, counts
    assert set(counts.repeatable_read_refusals) <= {REFUSED, SERIALIZATION}, counts
    assert counts.read_committed_refusals[REFUSED] > 0, counts
    assert counts.actions["fork"] >= 2, counts
    assert counts.actions["cutover"] > 0, counts
    assert counts.actions["rollback"] > 0, counts


def test_whatever_was_acknowledged_is_there_after_forks_cutovers_and_rollbacks(
    environment: Environment, tmp_path: Path, seed: int
) -> None:
    found = History(Releases(environment, tmp_path), seed, SECONDS).run()
    print(found)
    assert_refused_as_promised(found)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_long_history_loses_nothing(
    environment: Environment,
    tmp_path: Path,
    seed: int,
    counts: dict[str, Any],
    report: Report,
    request: pytest.FixtureRequest,
) -> None:
    seconds = request.config.getoption("--history-s")
    found = History(Releases(environment, tmp_path), seed, seconds, report).run()
    # Not `asdict`: of a Counter it makes one that counts its pairs.
    counts.update(vars(found), acknowledged=found.acknowledged)
    assert_refused_as_promised(found)
