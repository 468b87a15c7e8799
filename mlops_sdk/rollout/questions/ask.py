"""Answers about an environment: history, status, what was live when, who answered a request, who deploys.

Reads only, and imports what speaks with servers only where it is used: a person waits for it. Answers are JSON data;
their shapes stand in `docs/reference/output.md`. What is checked rather than asked is in `doctor.audit` (the
ledger) and `doctor.checks` (all else).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlops_sdk.errors import NotFoundError, UnreachableError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger.bindings import read_binding, read_bindings, read_lock
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.events import read_events_since_live
from mlops_sdk.ledger.lease import current
from mlops_sdk.ledger.pause import paused
from mlops_sdk.ledger.periods import (
    Moment,
    Period,
    read_blocked,
    read_moment,
    read_periods,
    read_tags,
    read_verdicts,
)
from mlops_sdk.ledger.predictions import Answer, answers_of
from mlops_sdk.ledger.store import read_hold, read_pointer
from mlops_sdk.ledger.weights import OF, Weight, share_of
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed.drift import Intended, Seen, differences, documents
from mlops_sdk.rollout.observed.readiness import Readiness


def history(
    project: Project, environment: str, *, limit: int, everything: bool = False
) -> list[dict[str, Any]]:
    """Return what was live when, newest first: at most `limit` entries; with `everything` those of all kinds.

    Each release that was live says whether a rollback could go to it now.
    """
    from mlops_sdk.rollout.observed.readiness_facts import read_readiness

    with open_session(project, environment) as session, session.ledger.connect() as conn:
        found = read_periods(conn, environment, limit=limit, everything=everything)
        digests = {one.entry.digest for one in found if one.entry.kind == "live" and one.entry.digest}
        live = read_pointer(conn, environment).digest
        tags = read_tags(conn, environment)
        verdicts = read_verdicts(conn, environment, digests)
        readiness = read_readiness(conn, session, digests - {live})
    return [history_row(one, tags, verdicts, readiness) for one in found]


def history_row(
    period: Period, tags: Mapping[str, str], verdicts: Mapping[str, str], readiness: Mapping[str, Readiness]
) -> dict[str, Any]:
    """Return one row of the history; `ready` is null for what is live and for entries of other kinds."""
    entry = period.entry
    is_live = entry.kind == "live"
    ready = readiness.get(entry.digest or "") if is_live and period.until else None
    return {
        "n": entry.n,
        "kind": entry.kind,
        "release": tags.get(entry.digest or "") or entry.details.get("release"),
        "digest": entry.digest,
        "status": _status(period, verdicts) if is_live else entry.kind,
        "live_from": _time(entry.at),
        "live_to": _time(period.until) if period.until else None,
        "by": entry.actor,
        "reason": entry.reason,
        "rollback_of": tags.get(entry.rollback_of or ""),
        "ready": ready.ready if ready else None,
        "missing": ready.document()["missing"] if ready else [],
        "first": list(ready.first) if ready else [],
    }


def _status(period: Period, verdicts: Mapping[str, str]) -> str:
    if period.until is None:
        return "live"
    verdict = verdicts.get(period.entry.digest or "")
    return verdict if verdict in ("verified", "withdrawn") else "was live"


def status(project: Project, environment: str) -> dict[str, Any]:
    """Return what is live, the kept releases with their services, the processes, the addresses, and the drift.

    While Postgres is away nothing is known of releases: `problem` says so, and the rest is answered all the same.
    """
    with open_session(project, environment) as session:
        answer: dict[str, Any] = {
            "environment": environment,
            "problem": None,
            "live": None,
            "digest": None,
            "entry": None,
            "hold": None,
            "paused": None,
            "deployer": None,
            "addresses": session.addresses(),
            "releases": [],
            "drift": None,
            "processes": _processes(session),
        }
        try:
            with session.ledger.connect() as conn:
                return {**answer, **_recorded(conn, session)}
        except UnreachableError as error:
            return {**answer, "problem": error.what}


def _processes(session: Session) -> list[dict[str, Any]]:
    if session.reach is not None:
        from mlops_sdk.cluster.pods import read_pods

        return [{"name": pod.name, "state": pod.state, "pid": None} for pod in read_pods(session.reach.api)]
    from mlops_sdk.platform.supervisor import Supervisor

    return [
        {"name": one.name, "state": one.state, "pid": one.pid}
        for one in Supervisor(session.folder).statuses().values()
    ]


def _recorded(conn: Connection, session: Session) -> dict[str, Any]:
    """What the ledger says of the live release and of those that are kept, newest first, and what differs."""
    from mlops_sdk.rollout.observed.runtime import look, read_intended

    environment = session.environment
    pointer, hold = read_pointer(conn, environment), read_hold(conn, environment)
    bindings = read_bindings(conn, environment, retired=False)
    locks = {binding.digest: read_lock(conn, binding.digest) for binding in bindings}
    intended = read_intended(conn, session, locks)
    held = current(conn, environment)
    blocked = read_blocked(conn, environment, locks)
    seen = look(session, intended)
    return {
        "live": next((b.release for b in bindings if b.digest == pointer.digest), None),
        "digest": pointer.digest,
        "entry": pointer.entry,
        "hold": hold.reason if hold else None,
        "paused": paused(read_events_since_live(conn, environment)),
        "deployer": held.holder.who if held and held.in_force else None,
        "releases": [
            {**status_row(one, locks[one.digest], intended, seen), "blocked": blocked.get(one.digest)}
            for one in reversed(bindings)
        ],
        "drift": documents(differences(intended, seen)),
    }


def status_row(binding: Binding, lock: Lock, intended: Intended, seen: Seen) -> dict[str, Any]:
    """Return one release of the status."""
    service = seen.services.get(binding.digest)
    runs = service is not None and service.ready and service.digest == binding.digest
    kept = {one.digest for one in intended.releases}
    return {
        "release": binding.release,
        "digest": binding.digest,
        "slot": _slot(binding.digest, intended, kept),
        "service": "ready" if runs else "down",
        "port": binding.service_port,
        "pg_schema": binding.pg_schema,
        "models": _models(lock),
    }


def _slot(digest: str, intended: Intended, kept: set[str]) -> str:
    if digest == intended.live:
        return "current"
    if digest == intended.following:
        return "next"
    return "kept" if digest in kept else "-"


def at(project: Project, address: str) -> dict[str, Any]:
    """Return which release was live at `address`, with its commit and models, and who had which share of traffic.

    Raises InputError for what is no address, NotFoundError for an entry that was never written.
    """
    parsed = addresses.parse(address, now=datetime.now(UTC))
    with open_session(project, parsed.environment) as session, session.ledger.connect() as conn:
        found = read_moment(conn, parsed.environment, parsed.moment)
        if found.live is None or found.live.digest is None:
            return {"address": address, "environment": parsed.environment, "release": None}
        digest = found.live.digest
        binding = (
            None if _is_retired(conn, session, digest) else read_binding(conn, parsed.environment, digest)
        )
        document = at_document(
            found, found.live, binding, read_lock(conn, digest), read_tags(conn, parsed.environment)
        )
        return {"address": address, "environment": parsed.environment, **document}


def at_document(
    found: Moment, live: Entry, binding: Binding | None, lock: Lock, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return what `at` says of a live release; `binding` is None where its tables are gone."""
    return {
        "release": lock.release,
        "digest": lock.digest,
        "n": live.n,
        "live_from": _time(live.at),
        "by": live.actor,
        "reason": live.reason,
        "commit": lock.code.commit,
        "pg_schema": binding.pg_schema if binding else None,
        "models": _models(lock),
        "weights": [_weight(weight, tags) for weight in found.weights],
    }


def _weight(weight: Weight, tags: Mapping[str, str]) -> dict[str, Any]:
    release = tags.get(weight.digest, weight.digest)
    return {"release": release, "digest": weight.digest, "share": weight.share, "of": OF}


def _is_retired(conn: Connection, session: Session, digest: str) -> bool:
    query = "SELECT status FROM mlops.binding WHERE env = %s AND digest = %s"
    return conn.execute(query, [session.environment, digest]).fetchone() == ("retired",)


def which_release(project: Project, environment: str, request_id: str) -> list[dict[str, Any]]:
    """Return who answered a request, from the prediction log: one row for each model that did.

    Each says which share of the traffic the release had then. Raises NotFoundError where nothing is logged.
    """
    with open_session(project, environment) as session, session.ledger.connect() as conn:
        answers = answers_of(conn, request_id)
        if not answers:
            raise NotFoundError(
                f"no prediction is logged for request {request_id}",
                where=environment,
                remedy="give the X-Request-Id of an answer; a service writes its log every second, and may drop"
                " predictions under load",
            )
        tags = read_tags(conn, environment)
        times = {answer.at for answer in answers}
        moments = {time: read_moment(conn, environment, addresses.At(time)) for time in times}
    return [answer_row(answer, moments[answer.at], tags) for answer in answers]


def answer_row(answer: Answer, then: Moment, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return one row of `which-release`; `note` says so where the release had no weight then, or it was none."""
    share = share_of(then.weights, answer.digest) if answer.digest else 0
    release = tags.get(answer.digest, answer.digest) if answer.digest else None
    note = f"{release} had no traffic then: it was asked on its own port, or answered what came before a handover"
    if release is None:
        note = "a model server answered that serves no release"
    return {
        "at": _time(answer.at),
        "release": release,
        "digest": answer.digest,
        "slot": answer.slot,
        "model": answer.model,
        "model_version": answer.model_version,
        "live": tags.get(then.live.digest or "") if then.live else None,
        "share": share,
        "of": OF,
        "note": None if share else note,
    }


def lease(project: Project, environment: str) -> dict[str, Any] | None:
    """Return who holds the environment's lease, or None for nobody."""
    with open_session(project, environment) as session, session.ledger.connect() as conn:
        held = current(conn, environment)
    if held is None or not held.in_force:
        return None
    return {
        "who": held.holder.who,
        "host": held.holder.host,
        "pid": held.holder.pid,
        "since": _time(held.since),
        "until": _time(held.until),
        "epoch": held.epoch,
    }


def _models(lock: Lock) -> dict[str, str]:
    return {key: f"{model.name} {model.version}" for key, model in lock.models.items()}


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
