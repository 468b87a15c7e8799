"""Golden files are renewed by `pytest tests/unit/stack --update-golden`."""

import pytest


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew instead of compared."""
    return bool(request.config.getoption("--update-golden", default=False))
