"""Whatever is killed or stopped between any two statements, the same command again comes to the same end.

The points are the statements that the operations send; a place in the code that sends one and has no point
fails the last test.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.faults.call_sites import call_sites
from tests.support.faults.operations import OPERATIONS
from tests.support.faults.points import Recordings, all_points, some_points, try_points
from tests.support.faults.server import durable_server
from tests.support.soak import Report

# What builds, forks, cuts and hands over.
_OF_STATE = (
    *("ann", "apply", "blockers", "build", "build_role", "capture", "carry", "context", "copy", "cut"),
    *("cutover", "discard", "drain", "fence", "fill", "fork", "forks", "load_rows", "replay", "shared"),
)
FILES = (*(f"state/{name}.py" for name in _OF_STATE), "traffic/attempts.py", "traffic/handover.py")
# Places that send nothing in these operations, and why.
WITHOUT_POINT = {
    "find_blockers": "only while a writer is in the way; it reads",
    "end_blockers": "only while a writer is in the way, and told to",
    "verify_checksum": "asked by a check of what is kept; it reads",
    "bring_beside": "marks one that cannot hold a row; tests of its own",
    "set_stale": "more than a million keys; one operation begins with a fork that is stale",
    "_mark_jumps": "only where a third release follows a table of policy discard",
    "_ensure_index": "an index of a shared table that was left half made is dropped first; else it has points",
    "_drop": "only when somebody has dropped a fork's table",
    "forget": "only when somebody has dropped a fork's table",
    "refuse": "a shift, which has tests of its own",
    "lift": "the end of a shift, which has tests of its own",
    "drop_disabled": "what a shift left behind",
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recordings]:
    with durable_server() as server:
        yield Recordings(server, tmp_path_factory.mktemp("releases"))


@pytest.mark.timeout(900)  # some dozens of operations, each with a database of its own
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_a_fault_ends_comes_to_the_same_end_when_it_is_repeated(
    recordings: Recordings, name: str, seed: int, report: Report
) -> None:
    points = some_points(recordings.statements(), seed)[name]
    tried, wrong = try_points(recordings, name, points, report)
    print(name, dict(tried))
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_two_statements_with_every_fault_between_them(
    recordings: Recordings, name: str, counts: dict[str, Any], report: Report
) -> None:
    points = all_points(recordings.of(name)[1])
    tried, wrong = try_points(recordings, name, points, report)
    counts.update(tried=tried, wrong=wrong)
    assert not wrong, "\n".join(wrong)


def test_every_place_that_sends_a_statement_has_a_point(recordings: Recordings) -> None:
    statements = [statement for sent in recordings.statements().values() for statement in sent]
    uncovered = [
        site for site in call_sites(FILES) if not any(site.sends(statement) for statement in statements)
    ]
    assert not [str(site) for site in uncovered if site.function not in WITHOUT_POINT]
    assert {site.function for site in uncovered} >= WITHOUT_POINT.keys(), (
        "an exception that is no longer needed"
    )
