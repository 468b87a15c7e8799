"""Duties run side by side: one that fails does not stop the others, and all end when they are asked to."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import MlopsError
from mlops_sdk.rollout.agent.duty import Did, Duty, Work
from mlops_sdk.rollout.agent.runner import Runner
from mlops_sdk.rollout.environment.session import Session

WITHIN_S = 20  # until what is awaited is certainly broken


def open_work(stop: threading.Event) -> Work:
    return Work(cast(Session, SimpleNamespace(environment="local")), stop)


def a_duty(name: str, run: Callable[[Work], Did], period_s: float = 0.001, **fields: Any) -> Duty:
    return Duty(name, "does something", period_s, run, **fields)


class Counted:
    """Something that is done again and again; `reached` is set by the n-th time."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times, self.error, self.count = times, error, 0
        self.reached = threading.Event()

    def __call__(self, _: Work) -> Did:
        self.count += 1
        if self.count >= self.times:
            self.reached.set()
        if self.error:
            raise self.error
        return Did(f"time {self.count}")


@pytest.mark.parametrize("error", [MlopsError("gone", remedy="mend it"), RuntimeError("a bug"), ValueError()])
def test_a_failing_duty_does_not_stop_the_others_and_is_tried_again(error: Exception) -> None:
    good, bad = Counted(5), Counted(3, error)
    runner = Runner([a_duty("bad", bad, longest_pause_s=0.01), a_duty("good", good)], open_work)
    runner.start()
    assert good.reached.wait(WITHIN_S) and bad.reached.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []
    states = {state.name: state for state in runner.states()}
    assert states["bad"].failures >= 3 and states["bad"].error_at is not None
    assert states["bad"].error == (str(error) or "ValueError")
    assert states["good"].failures == 0 and states["good"].did.startswith("time ")
    assert states["good"].duration_s is not None and states["good"].runs >= 5


def test_a_duty_that_is_woken_does_not_wait_for_its_pause_to_end() -> None:
    first, second, other = Counted(1), Counted(2), Counted(1)

    def both(work: Work) -> Did:
        first(work)
        return second(work)

    runner = Runner([a_duty("slow", both, period_s=3600), a_duty("other", other, period_s=3600)], open_work)
    runner.start()
    assert first.reached.wait(WITHIN_S) and other.reached.wait(WITHIN_S)
    runner.wake("slow")
    runner.wake("nobody")
    assert second.reached.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []
    assert other.count == 1


def test_a_failure_is_logged_with_its_cause_and_a_bug_with_the_way_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug, fault = Counted(1, RuntimeError("a bug")), Counted(1, MlopsError("gone", where="there"))
    away = Counted(1, psycopg.OperationalError("the connection is lost"))
    named = {"bug": bug, "fault": fault, "away": away}
    runner = Runner([a_duty(name, run, period_s=60) for name, run in named.items()], open_work)
    runner.start()
    assert all(run.reached.wait(WITHIN_S) for run in named.values())
    runner.stop()
    assert runner.join(WITHIN_S) == []
    lines = {record.args[0]: record for record in caplog.records if isinstance(record.args, tuple)}
    assert "there: gone" in lines["fault"].getMessage() and not lines["fault"].exc_info
    assert "is lost" in lines["away"].getMessage() and not lines["away"].exc_info
    assert "a bug" in lines["bug"].getMessage() and lines["bug"].exc_info


def test_a_duty_that_works_again_says_so_and_keeps_its_last_error_for_people() -> None:
    done = threading.Event()

    def run(work: Work) -> Did:
        if not done.is_set():
            done.set()
            raise MlopsError("gone")
        work.stop.set()
        return Did("well")

    runner = Runner([a_duty("once", run)], open_work)
    runner.start()
    assert runner.join(WITHIN_S) == []
    (state,) = runner.states()
    assert (state.failures, state.did, state.error) == (0, "well", "gone")
    assert state.ok


def test_what_a_duty_works_with_is_opened_anew_after_a_failure() -> None:
    opened: list[Work] = []

    def opening(stop: threading.Event) -> Work:
        opened.append(open_work(stop))
        return opened[-1]

    failing = Counted(3, MlopsError("gone"))
    runner = Runner([a_duty("bad", failing, longest_pause_s=0.01)], opening)
    runner.start()
    assert failing.reached.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []
    assert len(opened) == failing.count


def test_an_environment_that_cannot_be_opened_is_a_failure_of_each_duty_alone() -> None:
    tried = threading.Event()

    def opening(stop: threading.Event) -> Work:
        del stop
        tried.set()
        raise MlopsError("never brought up")

    runner = Runner([a_duty("any", Counted(1), period_s=60)], opening)
    runner.start()
    assert tried.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []
    assert runner.states()[0].error == "never brought up"


def test_with_a_backlog_there_is_no_pause() -> None:
    many = threading.Event()
    count = 0

    def run(work: Work) -> Did:
        nonlocal count
        count += 1
        if count == 50:
            many.set()
        return Did("carried", more=True)

    runner = Runner([a_duty("carry", run, period_s=3600)], open_work)
    runner.start()
    assert many.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []


def test_one_that_does_not_end_is_named_and_keeps_nobody() -> None:
    hangs, began = threading.Event(), threading.Event()

    def run(work: Work) -> Did:
        del work
        began.set()
        hangs.wait(WITHIN_S)
        return Did("late")

    runner = Runner([a_duty("hangs", run), a_duty("good", Counted(1))], open_work)
    runner.start()
    assert began.wait(WITHIN_S)
    runner.stop()
    assert runner.join(0.2) == ["hangs"]
    hangs.set()
    assert runner.join(WITHIN_S) == []


def test_a_problem_that_lasts_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    many = Counted(20)

    def run(work: Work) -> Did:
        many(work)
        return Did("for the others", problems=("users cannot hold a row",))

    runner = Runner([a_duty("carry", run)], open_work)
    runner.start()
    assert many.reached.wait(WITHIN_S)
    runner.stop()
    assert runner.join(WITHIN_S) == []
    assert sum("cannot hold" in record.getMessage() for record in caplog.records) == 1
    assert not runner.states()[0].ok


@given(period_s=st.floats(0.1, 1000), longest_s=st.floats(0.1, 1000), failures=st.integers(1, 10**6))
def test_after_failures_it_rests_longer_each_time_up_to_a_limit(
    period_s: float, longest_s: float, failures: int
) -> None:
    duty = a_duty("any", Counted(1), period_s=period_s, longest_pause_s=longest_s)
    pauses = [duty.pause_s(None, n) for n in range(1, min(failures, 40) + 1)]
    assert pauses == sorted(pauses)
    assert all(period_s <= pause <= max(period_s, longest_s) for pause in pauses)
    assert period_s <= duty.pause_s(None, failures) <= max(period_s, longest_s)
    assert duty.pause_s(Did("well"), 0) == period_s
