"""Random histories of releases on a real Postgres, each step compared with the plain model of what users expect."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from tests.support.machine.databases import Databases
from tests.support.machine.releasing import Releasing
from tests.support.postgres import PostgresServer
from tests.support.soak import Report


@pytest.fixture(scope="module")
def databases(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    found = Databases(postgres_server, tmp_path_factory.mktemp("machine"))
    yield found
    found.close()


def run(databases: Databases, seed: int, histories: int, steps: int, report: Report = print) -> Counter[str]:
    """Run histories; how often what happened in them."""
    given = {"databases": databases, "report": staticmethod(report), "_hypothesis_internal_use_seed": seed}
    machine = type("Releases", (Releasing,), given)
    databases.counts.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,  # a step is a command on a server
            database=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.filter_too_much,
            ],
        ),
    )
    return databases.counts


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("histories", "steps"), [(160, 8), (40, 30)])
def test_releases_behave_as_the_model_says(databases: Databases, histories: int, steps: int) -> None:
    found = run(databases, steps, histories, steps)
    assert found["histories"] >= histories
    for what in ("cutover", "rollback", "shift", "collected", "erase", "lost", "process", "session"):
        assert found[what] > 0, (what, found)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_thousands_of_histories_behave_as_the_model_says(
    databases: Databases, seed: int, counts: dict[str, Any], report: Report
) -> None:
    counts.update(run(databases, seed, 5000, 30, report))
