"""One step of a shift: traffic goes to the release, and is watched until the step ends or a gate fails.

A failing gate turns the traffic back at once, after what was seen is kept. It must not judge: `verify.traffic` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.apply.evidence import keep_evidence
from mlops_sdk.rollout.environment.progress import Note
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.plan.steps import Shift
from mlops_sdk.rollout.verify.checks import Check, sentence
from mlops_sdk.rollout.verify.metrics import Sample
from mlops_sdk.rollout.verify.predictions import predictions_since
from mlops_sdk.rollout.verify.service import runs, scrape
from mlops_sdk.rollout.verify.traffic import Seen, traffic_checks
from mlops_sdk.state.shift import read_shift
from mlops_sdk.traffic.shift import shift

if TYPE_CHECKING:
    from mlops_sdk.rollout.apply.apply import Run

_LOOK_AGAIN_S = 0.25
_TELL_EVERY_S = 10.0


class GateFailedError(MlopsError):
    """A release does not pass its gates under traffic."""

    def __init__(self, release: str, percent: int, checks: tuple[Check, ...], *, where: str) -> None:
        self.checks = checks
        super().__init__(f"{release} failed at {percent} % of traffic: {sentence(checks)}", where=where)


def shift_traffic(run: Run, step: Shift) -> None:
    """Do the step. Raises GateFailedError, LeaseLostError, DeadlineError, each with the traffic turned back."""
    session = run.session
    with session.ledger.connect() as conn:
        live = require_binding(conn, session.environment, _live_digest(session))
        other = read_shift(conn, session.environment)
    if other is not None and other.digest != step.digest:
        session.report(Note("turning back a shift that another deploy left"))
        _set_weight(run, other.digest, 0, "another release is deployed")
    release = run.binding()
    checks: tuple[Check, ...] = ()
    try:
        watch = Watch.begin(session, run.lock, release, live)
        _set_weight(run, step.digest, step.share, run.reason)
        for checks in _looks(run, step, watch):
            failed = tuple(check for check in checks if check.failed)
            if failed:
                raise GateFailedError(release.release, step.percent, failed, where=session.environment)
    except BaseException as error:  # also when a person stops it: half of the traffic is nobody's wish
        _turn_back(run, step, release, checks, error)
        raise
    for check in checks:
        session.report(Note(f"{check.word:<4} {check.name}: {check.detail}"))


@dataclass(frozen=True)
class Watch:
    """Counters of both services and the server's time, as they were when a step began."""

    session: Session
    lock: Lock
    release: Binding
    live: Binding
    since: datetime
    counted: Sample
    counted_live: Sample

    @classmethod
    def begin(cls, session: Session, lock: Lock, release: Binding, live: Binding) -> Watch:
        """Look at both services now. Raises UnreachableError."""
        with session.ledger.connect() as conn:
            row = conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        return cls(session, lock, release, live, row[0], scrape(release)[0], scrape(live)[0])

    def look(self) -> tuple[int, tuple[Check, ...]]:
        """How many requests the release has answered since, and the gates as they stand. Raises UnreachableError."""
        ready = runs(self.release)
        here = scrape(self.release)[0].since(self.counted)
        there = scrape(self.live)[0].since(self.counted_live)
        answers: list[dict[str, list[object]]] = [{}, {}]
        if self.lock.verify.prediction_drift is not None:
            with self.session.ledger.connect() as conn:
                answers = [predictions_since(conn, b.digest, self.since) for b in (self.release, self.live)]
        seen = [Seen(sample, found) for sample, found in zip((here, there), answers, strict=True)]
        readiness = Check("ready", ready, "it is" if ready else "it does not say so")
        return here.total, (readiness, *traffic_checks(self.lock.verify, *seen))


def _looks(run: Run, step: Shift, watch: Watch) -> Iterator[tuple[Check, ...]]:
    """The gates again and again, until the step has lasted long enough and nothing is pending."""
    began = told = time.monotonic()
    while True:
        run.left_s()
        run.lease.check()
        requests, checks = watch.look()
        yield checks
        now = time.monotonic()
        waiting = [check for check in checks if check.pending]
        if _is_over(step, now - began, requests) and not waiting:
            return
        if now - told > _TELL_EVERY_S:
            told = now
            words = f"; {sentence(tuple(waiting))}" if waiting else ""
            run.session.report(Note(f"{requests:,} requests in {now - began:.0f} s{words}"))
        time.sleep(_LOOK_AGAIN_S)


def _is_over(step: Shift, elapsed_s: float, requests: int) -> bool:
    if step.requests is not None:
        return requests >= step.requests
    return elapsed_s >= (step.seconds or 0.0)


def _turn_back(
    run: Run, step: Shift, release: Binding, checks: tuple[Check, ...], error: BaseException
) -> None:
    """Keep what was seen, then give the live release all traffic. What fails here is told beside the first error."""
    session = run.session
    why = error.what if isinstance(error, MlopsError) else type(error).__name__
    try:
        run.evidence = keep_evidence(session, release, checks, why)
        session.report(Note(f"evidence: {run.evidence}"))
    except OSError as second:  # a full disk is no reason to leave the traffic where it is
        session.report(Note(f"evidence could not be kept: {second.strerror}"))
    try:
        _set_weight(run, step.digest, 0, why[:200])
        session.report(Note("all traffic is back at the live release"))
    except (MlopsError, psycopg.Error) as second:
        session.report(Note(f"traffic could not be turned back: {str(second).splitlines()[0]}"))


def _set_weight(run: Run, digest: str, share: int, reason: str) -> None:
    session = run.session
    shift(
        conninfo=session.operator.operator_url,
        environment=session.environment,
        target=digest,
        weight=share,
        traffic=session.traffic,
        lease=run.lease.token,
        actor=run.actor,
        reason=reason,
        report=lambda line: session.report(Note(line)),
        end_blockers=run.end_blockers,
    )


def _live_digest(session: Session) -> str:
    digest = session.ledger.pointer().digest
    if digest is None:
        raise MlopsError("nothing is live that traffic could be shifted from", where=session.environment)
    return digest
