"""Every statement that this process sends, with the place in the SDK's code that sends it.

`watch` calls a hook before each one: to write them down, or to inject a fault before the n-th.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg

PACKAGE = Path(__file__).parents[3] / "mlops_sdk"


@dataclass(frozen=True)
class Statement:
    """Number `number` of an operation, from 1; `file` is relative to the package."""

    number: int
    file: str
    line: int
    function: str
    text: str

    @property
    def site(self) -> tuple[str, int]:
        """Where it is sent."""
        return self.file, self.line

    def __str__(self) -> str:
        return f"statement {self.number} ({self.file}:{self.line} {self.function}: {self.text})"


Hook = Callable[[Statement, psycopg.Connection[Any]], None]


@contextmanager
def watch(hook: Hook) -> Iterator[None]:
    """Call `hook` before each statement of this thread, BEGIN and COMMIT and COPY too."""
    thread = threading.get_ident()
    number = 0

    def before(conn: psycopg.Connection[Any], query: object) -> None:
        nonlocal number
        if threading.get_ident() == thread:
            number += 1
            hook(Statement(number, *_sender(), _text(conn, query)), conn)

    with (
        mock.patch.multiple(
            psycopg.Cursor,
            execute=_of_cursor(psycopg.Cursor.execute, before),
            executemany=_of_cursor(psycopg.Cursor.executemany, before),
            copy=_of_cursor(psycopg.Cursor.copy, before),
        ),
        mock.patch.multiple(psycopg.ServerCursor, execute=_of_cursor(psycopg.ServerCursor.execute, before)),
        mock.patch.multiple(
            psycopg.Connection, _exec_command=_of_connection(psycopg.Connection._exec_command, before)
        ),
    ):
        yield


def _of_cursor(method: Any, before: Callable[[Any, object], None]) -> Any:
    def wrapped(self: Any, query: object, *arguments: Any, **options: Any) -> Any:
        before(self.connection, query)
        return method(self, query, *arguments, **options)

    return wrapped


def _of_connection(method: Any, before: Callable[[Any, object], None]) -> Any:
    # BEGIN, COMMIT, ROLLBACK and their savepoints.
    def wrapped(self: Any, command: object, *arguments: Any, **options: Any) -> Any:
        before(self, command)
        return method(self, command, *arguments, **options)

    return wrapped


def _text(conn: psycopg.Connection[Any], query: object) -> str:
    if isinstance(query, psycopg.sql.Composable):
        query = query.as_string(conn)
    text = query.decode() if isinstance(query, bytes) else str(query)
    return " ".join(text.split())[:100]


def _sender() -> tuple[str, int, str]:
    """The innermost frame of the SDK, of psycopg's and contextlib's callers."""
    frame = inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            return str(path.relative_to(PACKAGE)), frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back
    return "", 0, ""
