"""Whatever is killed at whatever step of a command, the same command again comes to the same end.

`make kill-matrix` tries every point; `--only WORDS` those whose name has each of the words. `make test` tries some.
"""

import random
from contextlib import ExitStack
from typing import Any, get_args

import pytest

from mlops_sdk.rollout.plan.steps import Step
from tests.support.clone import platform
from tests.support.matrix.environment import SOURCE, Tiny, short_lease
from tests.support.matrix.points import (
    EXAMPLES,
    KINDS,
    OF_DERIVED,
    OPERATIONS,
    Operation,
    Point,
    all_points,
    combinations,
    impossible,
    words,
)
from tests.support.matrix.results import Results, product_commit, write_page
from tests.support.matrix.trial import Unkilled, try_point, unkilled
from tests.support.neighbour import neighbour
from tests.support.soak import Report

SAMPLE = 2  # points of a run of the other tests


def test_every_kind_of_step_has_a_point_and_a_line_of_its_own() -> None:
    assert set(EXAMPLES) == set(KINDS) == {kind.__name__ for kind in get_args(Step)}
    assert {point.step for point in all_points()} == set(KINDS), "a kind of step without a point"
    assert len({words(step) for step in KINDS}) == len(KINDS)


def test_a_point_that_cannot_be_has_a_reason() -> None:
    everything = list(combinations())
    assert len(everything) == len(OPERATIONS) * len(KINDS) * 9
    assert {point for point in everything if not impossible(point)} == set(all_points())


@pytest.mark.timeout(400)
def test_some_points_by_chance(small_releases: Tiny, seed: int, report: Report) -> None:
    points = [point for point in all_points(("deploy",)) if point.step not in OF_DERIVED]
    chosen = random.Random(seed).sample(points, SAMPLE)
    with short_lease(small_releases.clone):
        wrong = _try(small_releases, chosen, report, Results(None), "")
    assert not wrong, "\n".join(wrong)


@pytest.mark.matrix
@pytest.mark.timeout(0)
def test_every_point(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    counts: dict[str, Any],
    report: Report,
) -> None:
    results, commit = Results(), product_commit()
    only = str(request.config.getoption("--only") or "").split()
    points = [point for point in all_points() if all(word in point.id for word in only)]
    left = [point for point in points if not results.is_done(point, commit)]
    report(f"{len(points)} points, {len(left)} to try at {commit}")
    try:
        if left:
            with ExitStack() as stack:
                clone = stack.enter_context(platform(tmp_path_factory.mktemp("matrix")))
                stack.enter_context(short_lease(clone))
                if any(point.operation == "promote" for point in left):
                    stack.enter_context(neighbour(clone, SOURCE, [SOURCE, "local"]))
                made = Tiny.install(clone, 900)
                made.save_fresh()
                wrong = _try(made, in_turn(left), report, results, commit)
    finally:
        write_page(results, OPERATIONS)
    counts.update(points=len(points), tried=len(left))
    assert not left or not wrong, "\n".join(wrong)


def in_turn(points: list[Point]) -> list[Point]:
    """First deploys first, for they begin anew; then a rollback after each deploy, as long as there are any.

    Those with derived tables stand together, for each leaves one to the next that need not be built.
    """
    points = sorted(points, key=lambda point: point.step in OF_DERIVED)
    first = [point for point in points if point.operation == "first deploy"]
    rollbacks = [point for point in points if point.operation == "rollback"]
    others = [point for point in points if point.operation not in ("first deploy", "rollback")]
    found = list(first)
    while others or rollbacks:
        found += [group.pop(0) for group in (others, rollbacks) if group]
    return found


def _try(tiny: Tiny, points: list[Point], report: Report, results: Results, commit: str) -> list[str]:
    """Try the points in order; what is wrong. The first of a command is preceded by one that nobody kills."""
    usual: dict[tuple[Operation, bool], Unkilled] = {}
    wrong = []
    for number, point in enumerate(points, 1):
        kind = (point.operation, point.step in OF_DERIVED)
        if kind not in usual:
            usual[kind] = unkilled(tiny, point.operation, derived=kind[1])
            report(f"{point.operation} unkilled: {usual[kind].seconds}")
        result = try_point(tiny, point, usual[kind])
        results.add(result, commit)
        report(
            f"{number} of {len(points)} {point.id}: at `{result.fell}`, code {result.code}, {result.first_s} s,"
            f" then {result.again_s} s: {result.wrong or 'well'}"
        )
        if result.wrong:
            wrong.append(f"{point.id}: {result.wrong}")
    return wrong
