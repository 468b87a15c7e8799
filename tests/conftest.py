"""Fixtures that every level of tests may ask for."""

import pytest

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.environment",
    "tests.support.supervisor",
    "tests.support.mlflow_server",
    "tests.support.recommender",
    "tests.support.clone",
    "tests.support.small_stack",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes golden files anew instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")
