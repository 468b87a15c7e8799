"""Fixtures that every level of tests may ask for, and which tests run in one process."""

import os
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, and how fast examples come, is the machine's affair: speed is measured by benchmarks.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.pubsub",
    "tests.support.queues",
    "tests.support.environment",
    "tests.support.asked",
    "tests.support.supervisor",
    "tests.support.mlflow_server",
    "tests.support.event_project",
    "tests.support.recommender",
    "tests.support.films",
    "tests.support.small_stack",
    "tests.support.soak",
    "tests.support.page",
    "tests.support.agent_at_work",
    "tests.support.chromium",
    "tests.support.cluster",
    "tests.support.cluster_environment",
    "tests.support.served_process",
    "tests.support.published",
    "tests.support.stores",
    "tests.support.shop",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes golden files anew instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


@pytest.fixture(autouse=True)
def no_tracking_uri() -> Iterator[None]:
    """`mlflow.set_tracking_uri` writes it into the environment, where the next test's settings would find it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what speaks with Google's client in the test's own process."""
    for item in items:
        if item.path.name.startswith("test_messaging") and "[pubsub" in item.name:
            item.add_marker(pytest.mark.google)


# Files that share what is slow to start, by the words that their names begin with. All others stand alone.
_TOGETHER = {
    "test_release_and_back": "a clone with models",
    "test_restore": "a clone with models",
    "test_wrong_input": "a clone with models",
    "test_shift": "a clone without models",
    "test_workflow": "a clone without models",
    "test_kills_matrix": "small releases",
    "test_many_deployers": "small releases",
    "test_servers_that_fail": "small releases",
    "test_registry": "MLflow",
    "test_recommender": "MLflow",
    "test_promote": "MLflow",
    "test_events": "MLflow",
    "test_serve_": "MLflow",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`: each process gets whole files, or groups of files, in the order of their collection."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatTheyShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = PurePath(nodeid.split("::", 1)[0])
            shared = [group for prefix, group in _TOGETHER.items() if path.name.startswith(prefix)]
            return shared[0] if shared else str(path)

    return ByWhatTheyShare(config, log)
