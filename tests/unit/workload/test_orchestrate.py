"""Asking, waiting and confirming, with nobody real to ask: how many at once, in which order, and what comes out."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.workload.ask import Asked
from mlops_sdk.workload.checks import Checked, Fresh, Rows
from mlops_sdk.workload.days import days_between, last_days
from mlops_sdk.workload.jobs import Job
from mlops_sdk.workload.orchestrate import Orchestration
from mlops_sdk.workload.orchestrator import waited_for_s

JOB = Job("rfm", "a.b:c")
START = date(2026, 1, 1)


@dataclass
class Workload:
    """Does each date in as many looks as `looks` says, 0 for never; dates in `broken` fail, in `wrong` lie."""

    looks: dict[date, int]
    broken: frozenset[date] = frozenset()
    away: int = 0
    under_way: dict[UUID, date] = field(default_factory=dict)
    most: int = 0
    order: list[date] = field(default_factory=list)
    asked: dict[date, UUID] = field(default_factory=dict)

    def health(self) -> None:
        """It answers, but for the first `away` times."""
        self.away -= 1
        if self.away >= 0:
            raise UnreachableError("away")

    def request(self, job: Job, day: date) -> Asked:
        """One run a date."""
        del job
        known = self.asked.get(day)
        run = self.asked.setdefault(day, uuid4())
        self.order.append(day)
        self.under_way[run] = day
        self.most = max(self.most, len(self.under_way))
        return Asked(run, known is None)

    def read(self, run: UUID) -> dict[str, Any] | None:
        """One look nearer to its end."""
        day = next(one for one, known in self.asked.items() if known == run)
        self.looks[day] -= 1
        if self.looks[day] != 0:
            return None if self.looks[day] % 2 else {"status": "running", "stalled": True}
        self.looks[day] = 1  # done stays done
        self.under_way.pop(run, None)
        if day in self.broken:
            return {"status": "failed", "cause": "no column `amount`"}
        return {"status": "done", "result": day.isoformat()}


def orchestration(workload: Workload, lines: list[str] | None = None, **changes: Any) -> Orchestration:
    """With a clock that moves by what is paused."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    def confirm(_: Job, day: date, result: object) -> tuple[Checked, ...]:
        return (Checked("result", "" if result == day.isoformat() else "another"),)

    values: dict[str, Any] = {
        "ask": workload,
        "confirm": confirm,
        "report": (lines if lines is not None else []).append,
        "clock": lambda: now[0],
        "pause": pause,
    }
    return Orchestration(**(values | changes))


@given(
    looks=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    at_once=st.integers(1, 5),
    broken=st.sets(st.integers(0, 19)),
)
def test_every_date_is_asked_for_once_in_order_and_never_more_at_once_than_allowed(
    looks: list[int], at_once: int, broken: set[int]
) -> None:
    days = [START + timedelta(days=n) for n in range(len(looks))]
    failing = frozenset(day for n, day in enumerate(days) if n in broken)
    workload = Workload(dict(zip(days, looks, strict=True)), failing)

    outcomes = orchestration(workload, at_once=at_once).run(JOB, reversed(days))

    assert workload.order == days
    assert workload.most <= at_once
    assert [one.run_date for one in outcomes] == days
    assert {one.run_date for one in outcomes if not one.ok} == failing
    assert {one.why for one in outcomes if not one.ok} <= {"no column `amount`"}


def test_asking_again_confirms_what_is_done_and_does_it_no_second_time() -> None:
    workload, lines = Workload({START: 3}), list[str]()
    first = orchestration(workload).run(JOB, [START])
    again = orchestration(workload, lines).run(JOB, [START, START])
    assert first == again
    assert lines[0].startswith("rfm 2026-01-01: known already")


def test_a_result_that_does_not_hold_is_unconfirmed_and_says_which_check() -> None:
    (one,) = orchestration(
        Workload({START: 1}), confirm=lambda *_: (Checked("rows of t", "0 rows"), Checked("other"))
    ).run(JOB, [START])
    assert (one.status, one.why, one.result) == ("unconfirmed", "rows of t: 0 rows", "2026-01-01")


def test_a_date_is_waited_for_as_long_as_was_said_and_a_consumer_that_is_silent_is_told_of_once() -> None:
    lines: list[str] = []
    (one,) = orchestration(Workload({START: 10**6}), lines, timeout_s=10).run(JOB, [START])
    assert (one.status, one.why.partition(" for ")[2]) == ("late", "more than 10 s")
    assert [line for line in lines if "says nothing" in line] == [
        "rfm 2026-01-01: its consumer says nothing; its message comes again"
    ]


def test_a_date_is_not_late_because_the_others_that_were_asked_for_with_it_come_first() -> None:
    days = days_between(START, date(2026, 1, 4))
    done_at = {
        day: n * JOB.time_limit_s for n, day in enumerate(days, 1)
    }  # one after the other, each in time
    workload = Workload({day: int(at / 60) for day, at in done_at.items()})
    timeout_s = waited_for_s(JOB, len(days))
    outcomes = orchestration(workload, at_once=len(days), timeout_s=timeout_s, poll_s=60).run(JOB, days)
    assert all(one.ok for one in outcomes), [one.line() for one in outcomes]


def test_who_is_asked_may_be_away_for_a_while_and_not_for_ever() -> None:
    (one,) = orchestration(Workload({START: 1}, away=1)).run(JOB, [START])
    assert one.ok
    with pytest.raises(UnreachableError):
        orchestration(Workload({START: 1}, away=10**6), patience_s=0.01).run(JOB, [START])


@pytest.mark.parametrize(
    ("fault", "check", "value"),
    [
        ("", Rows("t", "d"), 1),
        ("0 rows, at least 1 are due", Rows("t", "d"), 0),
        ("1,001 rows, at most 1,000 are possible", Rows("t", "d", 0, 1000), 1001),
        ("", Rows("t", "d", 0), 0),
        ("", Fresh("t", "d"), 0),
        ("", Fresh("t", "d", 2), -5),
        ("there are no rows", Fresh("t", "d", 2), None),
        (
            "the newest row is 3 days older than the run's date, at most 2 are allowed",
            Fresh("t", "d", 2),
            3,
        ),
    ],
)
def test_a_check_says_what_is_wrong_in_numbers(fault: str, check: Rows | Fresh, value: int) -> None:
    assert check.judge(value) == fault


def test_days_are_named_by_their_ends_or_counted_back_from_today() -> None:
    assert last_days(2, today=date(2026, 3, 1)) == [date(2026, 2, 27), date(2026, 2, 28)]
    assert len(days_between(date(2024, 2, 28), date(2024, 3, 1))) == 3
    with pytest.raises(InputError, match="is before"):
        days_between(date(2026, 1, 2), date(2026, 1, 1))
