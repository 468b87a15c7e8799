"""A supervisor of a folder of its own for tests; afterwards nothing of it is left running.

pytest_plugins = ["tests.support.supervisor"]
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_sdk.platform.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor that has not been started yet."""
    made = Supervisor(tmp_path / "environment")
    yield made
    made.shutdown(timeout_s=20.0)
    assert made.pids() == []
