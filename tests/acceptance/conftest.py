"""Acceptance tests share one clone and one platform, so they run in one process, in the order of their files."""

import pytest

pytest_plugins = ["tests.support.clone"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of this folder together, whatever else runs beside them."""
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("acceptance"))
