"""A command whose progress is read along, with the time of each line, to do something at a moment of it."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_STEP = re.compile(r"^\[(\d+)/\d+\] (.*)$")


@dataclass(frozen=True)
class Line:
    """A line of standard error, `at` a monotonic time in seconds."""

    at: float
    text: str


class Watched:
    """A running command. Its output is read to the end whatever becomes of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[Line] = []
        self._changed = threading.Condition()
        self._ended = False
        self._out: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._drain)]
        for thread in self._threads:
            thread.start()

    def await_line(self, pattern: str, *, timeout_s: float = 180) -> re.Match[str]:
        """Wait for a line that matches, also among those that came already. Fails when the command ends without it."""
        found = self._await(
            lambda: next((m for x in self.lines if (m := re.search(pattern, x.text))), None), timeout_s
        )
        assert found is not None, f"no line matched {pattern!r}:\n{self.text()}"
        return found

    def await_step(self, words: str, *, timeout_s: float = 180) -> str:
        """Wait until a step begins whose line begins with `words`; its number."""
        return self.await_line(rf"^\[(\d+)/\d+\] {words}", timeout_s=timeout_s)[1]

    def await_done(self, number: str, *, timeout_s: float = 180) -> None:
        """Wait until a step is done."""
        self.await_line(rf"^\[{number}/\d+\] done", timeout_s=timeout_s)

    def send(self, number: int) -> None:
        """Send a signal to the command's own process, if it is still there."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def finish(self, *, timeout_s: float = 240) -> int:
        """Wait for its end and for its last line; the exit code, negative for a signal."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it did not end within {timeout_s:.0f} s:\n{self.text()}") from None
        for thread in self._threads:
            thread.join(30)
        return code

    def kill(self) -> int:
        """SIGKILL, and wait for the end."""
        self.send(signal.SIGKILL)
        return self.finish()

    def text(self) -> str:
        """Standard error so far."""
        return "\n".join(line.text for line in self.lines)

    def where(self) -> str:
        """The last step that began, and whether it was done: `7 done` or `7 hand over to r`."""
        found = [m for line in self.lines if (m := _STEP.match(line.text))]
        return (
            f"{found[-1][1]} {found[-1][2].partition(' in ')[0]}"[:40] if found else "before the first step"
        )

    def seconds(self) -> dict[str, float]:
        """How long each step took, by what its line says."""
        began: dict[str, Line] = {}
        took: dict[str, float] = {}
        for line in self.lines:
            match = _STEP.match(line.text)
            if match and match[2].startswith("done in"):
                took[began[match[1]].text.partition("] ")[2]] = line.at - began[match[1]].at
            elif match:
                began[match[1]] = line
        return took

    def _await(self, look: Callable[[], re.Match[str] | None], timeout_s: float) -> re.Match[str] | None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (found := look()) is None and not self._ended and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            return found

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            with self._changed:
                self.lines.append(Line(time.monotonic(), text.rstrip()))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self.process.stderr.close()

    def _drain(self) -> None:
        assert self.process.stdout is not None
        self._out.extend(self.process.stdout)
        self.process.stdout.close()
