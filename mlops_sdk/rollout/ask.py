"""Answers about an environment: history, status, what was live when, who deploys, and whether all is well.

Reads only. Answers are JSON data; their shapes stand in `docs/reference/output.md`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mlops_sdk.errors import MlopsError, NotFoundError, UnreachableError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger.anchor import anchor_of, parse_anchor, require_anchor
from mlops_sdk.ledger.entries import Entry, verify_chain
from mlops_sdk.ledger.lease import current
from mlops_sdk.ledger.predictions import answers_of
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.bring_up import addresses as addresses_of
from mlops_sdk.rollout.health import check_of, database_checks, failed
from mlops_sdk.rollout.session import Session, open_session
from mlops_sdk.rollout.verify.service import runs
from mlops_sdk.stack import config


def history(
    project: Project, environment: str, *, limit: int, everything: bool = False
) -> list[dict[str, Any]]:
    """Return what was live when, newest first: at most `limit` entries; with `everything` those of all kinds."""
    with open_session(project, environment) as session:
        newest_first = session.ledger.entries()
        tags = {b.digest: b.release for b in session.ledger.bindings(retired=True)}
    rows: list[dict[str, Any]] = []
    live_to: datetime | None = None
    verified = {entry.digest for entry in newest_first if entry.kind == "verified"}
    for entry in newest_first:
        if entry.kind == "live":
            rows.append(_row(entry, tags, live_to, verified))
            live_to = entry.at
        elif everything:
            rows.append(_row(entry, tags, None, verified))
    return rows[:limit]


def _row(
    entry: Entry, tags: dict[str, str], live_to: datetime | None, verified: set[str | None]
) -> dict[str, Any]:
    is_live = entry.kind == "live"
    ended = "live" if live_to is None else "verified" if entry.digest in verified else "was live"
    return {
        "n": entry.n,
        "kind": entry.kind,
        "release": tags.get(entry.digest or "") or entry.details.get("release"),
        "digest": entry.digest,
        "status": ended if is_live else entry.kind,
        "live_from": _time(entry.at),
        "live_to": _time(live_to) if is_live and live_to else None,
        "by": entry.actor,
        "reason": entry.reason,
        "rollback_of": tags.get(entry.rollback_of or ""),
    }


def status(project: Project, environment: str) -> dict[str, Any]:
    """Return what is live, the kept releases with their services, the processes and the addresses.

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
            "addresses": addresses_of(session),
            "releases": [],
            "processes": [
                {"name": s.name, "state": s.state, "pid": s.pid}
                for s in Supervisor(session.folder).statuses().values()
            ],
        }
        try:
            return {**answer, **_recorded(session)}
        except UnreachableError as error:
            return {**answer, "problem": error.what}


def _recorded(session: Session) -> dict[str, Any]:
    """What the ledger says of the live release and of those that are kept, newest first."""
    pointer = session.ledger.pointer()
    hold = session.ledger.hold()
    present = {binding.digest for binding in session.present(pointer.digest)}
    bindings = session.ledger.bindings()
    return {
        "live": next((b.release for b in bindings if b.digest == pointer.digest), None),
        "digest": pointer.digest,
        "entry": pointer.entry,
        "hold": hold.reason if hold else None,
        "releases": [
            {
                "release": binding.release,
                "digest": binding.digest,
                "slot": _slot(binding.digest, pointer.digest, present),
                "service": "ready" if runs(binding) else "down",
                "port": binding.service_port,
                "pg_schema": binding.pg_schema,
                "models": _models(session.ledger.lock(binding.digest)),
            }
            for binding in reversed(bindings)
        ],
    }


def _slot(digest: str, live: str | None, present: set[str]) -> str:
    if digest == live:
        return "current"
    return "kept" if digest in present else "-"


def at(project: Project, address: str) -> dict[str, Any]:
    """Return which release was live at `address`, with its commit and models. Raises InputError, NotFoundError."""
    parsed = addresses.parse(address, now=datetime.now(UTC))
    with open_session(project, parsed.environment) as session:
        entry = session.ledger.resolve(parsed)
        if entry is None or entry.digest is None:
            return {"address": address, "environment": parsed.environment, "release": None}
        lock = session.ledger.lock(entry.digest)
        binding = session.ledger.binding(entry.digest)
        retired = session.ledger.statuses().get(entry.digest) == "retired"
        return {
            "address": address,
            "environment": parsed.environment,
            "release": lock.release,
            "digest": lock.digest,
            "n": entry.n,
            "live_from": _time(entry.at),
            "by": entry.actor,
            "commit": lock.code.commit,
            "pg_schema": binding.pg_schema if binding and not retired else None,
            "models": _models(lock),
        }


def which_release(project: Project, environment: str, request_id: str) -> list[dict[str, Any]]:
    """Return who answered a request, from the prediction log: one row for each model that did.

    Raises NotFoundError where nothing is logged of it.
    """
    with open_session(project, environment) as session:
        with session.ledger.connect() as conn:
            answers = answers_of(conn, request_id)
        if not answers:
            raise NotFoundError(
                f"no prediction is logged for request {request_id}",
                where=environment,
                remedy="give the X-Request-Id of an answer; a service writes its log every second, and may drop"
                " predictions under load",
            )
        tags = {b.digest: b.release for b in session.ledger.bindings(retired=True)}
        live = {answer.at: session.ledger.at(answer.at) for answer in answers}
    return [
        {
            "at": _time(answer.at),
            "release": tags.get(answer.digest, answer.digest),
            "digest": answer.digest,
            "slot": answer.slot,
            "model": answer.model,
            "model_version": answer.model_version,
            "live": tags.get(entry.digest or "") if (entry := live[answer.at]) else None,
        }
        for answer in answers
    ]


def verify_ledger(project: Project, environment: str, anchor: str | None = None) -> dict[str, Any]:
    """Follow the hash chain from the first entry; return how many there are and the newest one, the head.

    `anchor` is N:HASH of an entry, noted elsewhere: it must still hold. Raises InputError for what is no anchor, and
    MlopsError naming the first entry that is not as it was written.
    """
    noted = parse_anchor(anchor) if anchor else None
    with open_session(project, environment) as session:
        newest_first = session.ledger.entries()
    try:
        verify_chain(reversed(newest_first))
        if noted is not None:
            require_anchor(newest_first, noted)
    except ValueError as error:
        raise MlopsError(
            str(error),
            where=f"ledger of {environment}",
            remedy="somebody with more rights than the SDK changed it: compare it with a backup",
        ) from error
    head = newest_first[0] if newest_first else None
    return {
        "environment": environment,
        "entries": len(newest_first),
        "head": str(anchor_of(head)) if head else None,
        "head_at": _time(head.at) if head else None,
        "anchor": anchor,
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


def doctor(project: Project, environment: str, *, fix: bool = False) -> list[dict[str, Any]]:
    """Return a list of checks: each has `check`, `ok`, `detail` and, if it failed, `remedy`.

    With `fix`, what can be repaired in Postgres without harm is repaired first.
    """
    with open_session(project, environment) as session:
        checks: list[tuple[str, Callable[[Session], str]]] = [
            ("ledger: hash chain", lambda s: f"{s.ledger.verify()} entries"),
            ("stack config agrees with the ledger", _config_agrees),
            ("the router leads to the live release", _router_agrees),
            ("the live release's service is ready", _service_runs),
            ("every process runs", _processes_run),
        ]
        found = [_checked(name, check, session) for name, check in checks]
        try:
            return found + database_checks(session.ledger, environment, fix=fix)
        except MlopsError as error:
            return [*found, failed("Postgres can be looked at", error)]


def _checked(name: str, check: Callable[[Session], str], session: Session) -> dict[str, Any]:
    try:
        return check_of(name, ok=True, detail=check(session))
    except (MlopsError, ValueError) as error:
        return failed(name, error)


def _config_agrees(session: Session) -> str:
    here = config.cause_of(session.stack.config.read())
    if here != config.cause_of(session.rendered_config()):
        raise MlopsError("it does not", remedy=f"`mlops stack sync {session.environment}`")
    return "it does"


def _router_agrees(session: Session) -> str:
    digest = session.ledger.pointer().digest
    binding = session.ledger.binding(digest) if digest else None
    if binding is None:
        return "nothing is live"
    routes = session.traffic.read()
    if not routes.leads_only_to(binding.service_port):
        raise MlopsError(f"it leads to {routes}", remedy=f"`mlops up {session.environment}`")
    return f"port {binding.service_port}"


def _service_runs(session: Session) -> str:
    digest = session.ledger.pointer().digest
    binding = session.ledger.binding(digest) if digest else None
    if binding is None:
        return "nothing is live"
    if not runs(binding):
        raise MlopsError(f"{binding.release} does not answer", remedy=f"`mlops up {session.environment}`")
    return binding.release


def _processes_run(session: Session) -> str:
    statuses = Supervisor(session.folder).statuses().values()
    down = [s.name for s in statuses if not s.running]
    if down:
        raise MlopsError(f"{', '.join(down)}", remedy=f"`mlops up {session.environment}`")
    return f"{len(statuses)} processes"


def _models(lock: Lock) -> dict[str, str]:
    return {key: f"{model.name} {model.version}" for key, model in lock.models.items()}


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
