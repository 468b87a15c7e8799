"""Fixtures that every level of tests may ask for."""

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.environment",
    "tests.support.supervisor",
    "tests.support.mlflow_server",
    "tests.support.recommender",
]
