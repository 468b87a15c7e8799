"""Acceptance tests share a clone and a platform, so those of one clone run in one process, file after file.

The kills have a clone of their own: they may run beside the others.
"""

import pytest

_OWN_CLONE = "test_kills_and_failures.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one clone together, whatever else runs beside them."""
    for item in items:
        if "acceptance" in item.path.parts:
            name = "acceptance-kills" if item.path.name == _OWN_CLONE else "acceptance"
            item.add_marker(pytest.mark.xdist_group(name))
