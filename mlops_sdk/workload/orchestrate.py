"""Asks for a job's dates, waits, checks and confirms: one date, or a backfill of many with so many at once.

Killed at any point, the same call converges: a date that is done is confirmed without doing it again. It must not
know a server: who is asked, who confirms and who is told of it are given.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from uuid import UUID

import stamina

from mlops_sdk.errors import UnreachableError
from mlops_sdk.workload.ask import Ask
from mlops_sdk.workload.checks import Checked
from mlops_sdk.workload.jobs import Job

POLL_S = 0.5
PATIENCE_S = 300.0
"""How long a server may be away, in seconds: who was killed is started again meanwhile."""

Status = Literal["confirmed", "unconfirmed", "failed", "late"]
Confirm = Callable[[Job, date, Any], tuple[Checked, ...]]


@dataclass(frozen=True)
class Outcome:
    """What became of a date.

    `confirmed`: done, and every check holds. `unconfirmed`: done, and a check does not. `failed`: the job gave up.
    `late`: it took longer than it was waited for, and may still be done. `why` is empty where it is confirmed.
    """

    job: str
    run_date: date
    run: UUID
    status: Status
    why: str = ""
    result: Any = None
    checks: tuple[Checked, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the date is done and confirmed."""
        return self.status == "confirmed"

    def line(self) -> str:
        """The outcome in one line."""
        why = f": {self.why}" if self.why else ""
        return f"{self.job} {self.run_date}: {self.status}{why}"


@dataclass
class _UnderWay:
    run: UUID
    until: float
    stalled: bool = False


@dataclass(frozen=True)
class Orchestration:
    """How dates are asked for.

    `at_once` is how many may be under way, `timeout_s` how long each is waited for after it was asked for. `report`
    gets a line for what happens; `clock` and `pause` count seconds. `allowed` is called first and before each date is
    asked for, and raises where it may not be. `ended` gets each outcome as it comes, also in a call that is cut short.
    """

    ask: Ask
    confirm: Confirm
    report: Callable[[str], None]
    at_once: int = 1
    timeout_s: float = 3600.0
    patience_s: float = PATIENCE_S
    poll_s: float = POLL_S
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    allowed: Callable[[], None] = lambda: None
    ended: Callable[[Outcome], None] = lambda _: None

    def run(self, job: Job, days: Iterable[date]) -> tuple[Outcome, ...]:
        """What became of each date, in the order of dates. One that fails keeps no other from being done.

        Raises UnreachableError when who is asked stays away longer than `patience_s`, and what `allowed`, and `Ask`
        for a request that is wrong, raise.
        """
        self._patiently(self.allowed)
        self._patiently(self.ask.health)
        waiting, under_way = deque(sorted(set(days))), dict[date, _UnderWay]()
        outcomes: list[Outcome] = []
        while waiting or under_way:
            while waiting and len(under_way) < self.at_once:
                under_way[waiting[0]] = self._request(job, waiting[0])
                waiting.popleft()
            for day, one in list(under_way.items()):
                outcome = self._look(job, day, one)
                if outcome is not None:
                    self.report(outcome.line())
                    self.ended(outcome)
                    outcomes.append(outcome)
                    del under_way[day]
            if len(under_way) >= self.at_once or (under_way and not waiting):
                self.pause(self.poll_s)
        return tuple(sorted(outcomes, key=lambda one: one.run_date))

    def _request(self, job: Job, day: date) -> _UnderWay:
        self._patiently(self.allowed)
        asked = self._patiently(lambda: self.ask.request(job, day))
        self.report(f"{job.name} {day}: {'asked for' if asked.queued else 'known already'}, run {asked.run}")
        return _UnderWay(asked.run, self.clock() + self.timeout_s)

    def _look(self, job: Job, day: date, one: _UnderWay) -> Outcome | None:
        """The outcome of a date, None while there is none."""
        run = self._patiently(lambda: self.ask.read(one.run)) or {"status": "queued"}
        if run["status"] == "done":
            checks = self._patiently(lambda: self.confirm(job, day, run["result"]))
            why = "; ".join(f"{check.name}: {check.fault}" for check in checks if not check.ok)
            status: Status = "unconfirmed" if why else "confirmed"
            return Outcome(job.name, day, one.run, status, why, run["result"], checks)
        if run["status"] == "failed":
            return Outcome(job.name, day, one.run, "failed", run["cause"] or "it does not say why")
        if self.clock() > one.until:
            return Outcome(
                job.name, day, one.run, "late", f"{run['status']} for more than {self.timeout_s:g} s"
            )
        if run.get("stalled") and not one.stalled:
            one.stalled = True
            self.report(f"{job.name} {day}: its consumer says nothing; its message comes again")
        return None

    def _patiently(self, call: Callable[[], Any]) -> Any:
        for attempt in stamina.retry_context(
            on=UnreachableError, attempts=None, timeout=self.patience_s, wait_max=5.0
        ):
            with attempt:
                return call()
        raise AssertionError("the last attempt returns or raises")
