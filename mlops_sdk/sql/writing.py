"""Writes what a person asked for where they said, and says so where that cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_sdk.errors import InputError


@contextmanager
def writing(place: Path, option: str) -> Iterator[None]:
    """Raises InputError, which names `place` and the option that chose it, for what the system refuses within."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"it cannot be written: {error.strerror}", where=str(place), remedy=f"name another: {option}"
        ) from error
