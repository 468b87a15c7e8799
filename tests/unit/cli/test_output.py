"""Progress and tables as people read them."""

import io
import os
import pty
import subprocess
import sys

import pytest

from mlops_sdk.cli.progress import Progress, spell_seconds
from mlops_sdk.rollout.environment.progress import Note, StepDone, StepStarted
from mlops_sdk.rollout.plan.steps import Bind, Build


def test_a_reader_of_progress_who_leaves_does_not_stop_the_work() -> None:
    program = (
        "from mlops_sdk.cli.progress import reporter\n"
        "from mlops_sdk.rollout.environment.progress import Note\n"
        "report = reporter(quiet=False)\n"
        "for number in range(3):\n"
        "    report(Note(str(number)))\n"
        "print('done')\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writing, text=True, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stdout) == (0, "done\n")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_says_each_minute_that_a_silent_step_goes_on() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, live=False, clock=clock)
    progress(StepStarted(1, 2, Build("content", "f")))
    for _ in range(100):
        clock.now += 1
        progress.tick()
    progress(StepDone(1, 2, Build("content", "f"), 100.0))
    clock.now += 100
    progress.tick()

    assert stream.getvalue().splitlines() == [
        "[1/2] build table content",
        "      still at it after 1 min 0 s: [1/2] build table content",
        "[1/2] done in 100.0 s",
    ]


def test_a_step_that_says_something_is_not_called_silent() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, live=False, clock=clock)
    progress(StepStarted(1, 2, Build("content", "f")))
    for _ in range(100):
        clock.now += 1
        progress(Note("rows"))
        progress.tick()

    assert "still" not in stream.getvalue()


def test_of_two_builds_at_once_the_older_is_counted() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, live=False, clock=clock)
    progress(StepStarted(1, 2, Build("a", "f")))
    clock.now += 30
    progress(StepStarted(2, 2, Build("b", "g")))
    clock.now += 60
    progress.tick()

    assert stream.getvalue().splitlines()[-1] == "      still at it after 1 min 30 s: [1/2] build table a"


def test_on_a_terminal_the_seconds_are_counted_in_place() -> None:
    reading, writing = pty.openpty()
    clock = Clock()
    with os.fdopen(writing, "w") as stream:
        progress = Progress(stream, live=True, clock=clock)
        progress(StepStarted(1, 2, Bind("v0.0.1", "d")))
        clock.now += 5
        progress.tick()
        progress(Note("bound"))
        seen = ""
        while "bound" not in seen:
            seen += os.read(reading, 10_000).decode().replace("\r\n", "\n")
    os.close(reading)

    counted = "\r\x1b[K[1/2] bind v0.0.1 to this environment ... 5 s"
    assert seen.endswith(f"{counted}\r\x1b[K      bound\n"), repr(seen)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")],
)
def test_times_are_spelled_for_people(seconds: float, words: str) -> None:
    assert spell_seconds(seconds) == words
