"""Progress on standard error: a line for each step and note, and while nothing comes, how long it has taken.

On a terminal the last line counts the seconds; elsewhere a line says now and then that work goes on, so that the log
of a CI job shows life. It must not print a result.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from mlops_sdk.rollout.environment.progress import Event, Note, Report, StepDone, StepStarted, silent
from mlops_sdk.rollout.plan.steps import describe

_TICK_S = 1.0
_SAY_EVERY_S = 60.0
_COLUMNS = 80  # of a terminal that does not know its width
_CLEAR_LINE = "\r\x1b[K"


def reporter(*, quiet: bool) -> Report:
    """Return a `Report` that prints each step with its number and time to standard error."""
    return silent if quiet else Progress(sys.stderr)


class Progress:
    """A `Report` to a stream. `clock` is monotonic, in seconds."""

    def __init__(
        self, stream: TextIO, *, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = live if live is not None else is_terminal(stream)
        self._clock = clock
        self._mutex = threading.Lock()
        self._running: dict[int, tuple[str, float]] = {}  # steps by number: what is said of them, since when
        self._said_at = clock()
        self._shown = False
        self._ticker: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Print the event."""
        with self._mutex:
            match event:
                case StepStarted(number=number, total=total, step=step):
                    line = f"[{number}/{total}] {describe(step)}"
                    self._running[number] = (line, self._clock())
                case StepDone(number=number, total=total, elapsed_s=elapsed_s):
                    line = f"[{number}/{total}] done in {elapsed_s:.1f} s"
                    self._running.pop(number, None)
                case Note(text=text):
                    line = f"      {text}"
            self._said_at = self._clock()
            self._write(f"{self._cleared()}{line}\n")
        self._start()

    def tick(self) -> None:
        """Say how long the oldest running step has taken, if it is time to."""
        with self._mutex:
            if not self._running:
                return
            words, since = min(self._running.values(), key=lambda each: each[1])
            took = spell_seconds(self._clock() - since)
            if self._live:
                self._write(f"{_CLEAR_LINE}{f'{words} ... {took}'[: self._width() - 1]}")
                self._shown = True
            elif self._clock() - self._said_at >= _SAY_EVERY_S:
                self._said_at = self._clock()
                self._write(f"      still at it after {took}: {words}\n")

    def _cleared(self) -> str:
        shown, self._shown = self._shown, False
        return _CLEAR_LINE if shown else ""

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError):  # no terminal any more, or closed: `_write` knows what to do then
            return _COLUMNS

    def _start(self) -> None:
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._keep_ticking, name="progress", daemon=True)
            self._ticker.start()

    def _keep_ticking(self) -> None:
        while True:
            time.sleep(_TICK_S)
            self.tick()

    def _write(self, text: str) -> None:
        # One write a line: a reader that waits for a line (a person, a test) never sees half of one.
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # Who read along (head, less) went away. That is no reason to stop in the middle of a handover.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except ValueError:
            # The stream was closed by whoever called this as a function, while the ticker still looked at it.
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - until the process ends


def is_terminal(stream: TextIO) -> bool:
    """Whether a line that was written can be written over."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def spell_seconds(seconds: float) -> str:
    """`12 s`, `3 min 5 s` or `2 h 4 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
