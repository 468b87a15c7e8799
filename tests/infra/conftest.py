"""What every test of the Pulumi program needs."""

from collections.abc import Iterator

import pytest

from tests.support import declared


@pytest.fixture(autouse=True)
def own_event_loop() -> Iterator[None]:
    """See `declared.own_event_loop`."""
    with declared.own_event_loop():
        yield
