"""Runs duties side by side, a thread each: one that fails is logged, backs off, and does not stop the others.

It must not know what a duty does.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

import psycopg

from mlops_sdk.errors import MlopsError
from mlops_sdk.rollout.agent.duty import Did, Duty, DutyState, Work

logger = logging.getLogger("mlops.agent")


class Runner:
    """The duties of one process. `open_work` opens what a duty works with, anew after each failure."""

    def __init__(self, duties: Iterable[Duty], open_work: Callable[[threading.Event], Work]) -> None:
        self._duties = tuple(duties)
        self._open_work = open_work
        self._stop = threading.Event()
        self._wakes = {duty.name: threading.Event() for duty in self._duties}
        self._mutex = threading.Lock()
        self._states = {duty.name: DutyState(duty.name, duty.does, duty.period_s) for duty in self._duties}
        self._threads = [
            # Daemons: one that hangs in a server's answer must not keep the process.
            threading.Thread(target=self._keep_doing, args=[duty], name=duty.name, daemon=True)
            for duty in self._duties
        ]

    def start(self) -> None:
        """Begin with every duty at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask every duty to end; returns at once."""
        self._stop.set()
        for wake in self._wakes.values():
            wake.set()

    def wake(self, name: str) -> None:
        """Let a duty run now rather than when its pause ends; once more, if it runs. One that is not here cannot."""
        if name in self._wakes:
            self._wakes[name].set()

    def join(self, timeout_s: float) -> list[str]:
        """Wait until every duty ended, at most `timeout_s` seconds; return the names of those that did not."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def states(self) -> list[DutyState]:
        """What is known of each duty, in the order in which they were given."""
        with self._mutex:
            return list(self._states.values())

    def _keep_doing(self, duty: Duty) -> None:
        work: Work | None = None
        wake = self._wakes[duty.name]
        while not self._stop.is_set():
            wake.clear()  # what wakes it from here on was not seen by this run
            self._note(duty, running=True, began_at=datetime.now(UTC))
            started = time.monotonic()
            did: Did | None = None
            try:
                if work is None:
                    work = self._open_work(self._stop)
                did = duty.run(work)
                self._went_well(duty, did, time.monotonic() - started)
            except Exception as error:  # noqa: BLE001 - the boundary of a thread whose duty must go on
                self._failed(duty, error, time.monotonic() - started)
                _close(work)
                work = None
            failures = self._state(duty).failures
            if not self._stop.is_set():
                wake.wait(duty.pause_s(did, failures))
        _close(work)

    def _went_well(self, duty: Duty, did: Did, duration_s: float) -> None:
        before = self._state(duty)
        if before.failures:
            logger.info("%s: works again: %s", duty.name, did.what)
        for problem in did.problems:
            if problem not in before.problems:  # once, not every second
                logger.error("%s: %s", duty.name, problem)
        self._note(
            duty,
            running=False,
            runs=before.runs + 1,
            duration_s=round(duration_s, 3),
            did=did.what,
            problems=did.problems,
            failures=0,
        )

    def _failed(self, duty: Duty, error: Exception, duration_s: float) -> None:
        failures = self._state(duty).failures + 1
        pause_s = duty.pause_s(None, failures)
        text = str(error) or type(error).__name__
        # The SDK's own errors, and a server that went away, say all there is to know. Of others the way there counts.
        trace = None if isinstance(error, MlopsError | psycopg.OperationalError) else error
        logger.error("%s failed, again in %g s: %s", duty.name, pause_s, text, exc_info=trace)
        self._note(
            duty,
            running=False,
            runs=self._state(duty).runs + 1,
            duration_s=round(duration_s, 3),
            failures=failures,
            error=text,
            error_at=datetime.now(UTC),
        )

    def _state(self, duty: Duty) -> DutyState:
        with self._mutex:
            return self._states[duty.name]

    def _note(self, duty: Duty, **changes: object) -> None:
        with self._mutex:
            self._states[duty.name] = replace(self._states[duty.name], **changes)  # type: ignore[arg-type]


def _close(work: Work | None) -> None:
    if work is not None:
        work.close()
