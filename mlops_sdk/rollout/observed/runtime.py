"""Both sides of drift, gathered: what the ledger intends, and what services, router, config and Prefect say.

Reads only, but for what `record_...` writes. Everything that can be slow is asked at once, by the standard library's
HTTP client: another one would cost `mlops status` more time to import than all of its questions take.
"""

import http.client
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from mlops_sdk.errors import MlopsError, NotFoundError
from mlops_sdk.ledger.bindings import read_kept, read_lock
from mlops_sdk.ledger.database import Connection, control_transaction, retry
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.lease import current
from mlops_sdk.ledger.periods import read_latest, read_tags
from mlops_sdk.ledger.store import append, lock_pointer, read_pointer
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed.drift import (
    ConfigSeen,
    Difference,
    FlowRunSeen,
    Intended,
    IntendedRelease,
    Part,
    Seen,
    ServiceSeen,
    differences,
    documents,
)
from mlops_sdk.runtime.flow_marks import ASKED_TAG, REPORTED_LABEL
from mlops_sdk.runtime.settings import EnvironmentSettings
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import read_plain
from mlops_sdk.state.shift import read_shift
from mlops_sdk.traffic.port import Routes

TIMEOUT_S = 2.0

_UNDER_WAY = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
T = TypeVar("T")


def read_intended(conn: Connection, session: Session, locks: Mapping[str, Lock] | None = None) -> Intended:
    """Return what the ledger says should run. `locks` are those that the caller has read already."""
    pointer = read_pointer(conn, session.environment)
    shift = read_shift(conn, session.environment)
    return Intended(
        environment=session.environment,
        live=pointer.digest,
        releases=tuple(
            IntendedRelease(
                binding.digest,
                binding.release,
                binding.service_port
                if ((locks or {}).get(binding.digest) or read_lock(conn, binding.digest)).service
                else None,
            )
            for binding in read_kept(conn, session.environment)
        ),
        following=shift.digest if shift else None,
        share=shift.weight if shift else 0,
        tags=read_tags(conn, session.environment),
    )


def look(session: Session, intended: Intended) -> Seen:
    """Return what is seen now. What does not answer is part of what is seen: nothing is raised for it."""
    silent: dict[Part, str] = {}
    has_config = not session.is_in_pod
    if session.is_in_pod:
        session.open_services()  # of releases that came since this pod began

    def heard(part: Part, answer: Callable[[], T], otherwise: T) -> T:
        try:
            return answer()
        except MlopsError as error:
            silent[part] = f"it could not be looked at: {error.what}"
            return otherwise

    with ThreadPoolExecutor(max_workers=len(intended.releases) + 2) as pool:
        runs = pool.submit(flow_runs_under_way, session.settings)
        processes = pool.submit(_processes, session)
        services = {
            one.digest: pool.submit(ask_service, one.port)
            for one in intended.releases
            if one.port is not None
        }
        return Seen(
            routes=heard("router", lambda: _routes(session), None),
            config=heard("stack config", lambda: _config(session), None) if has_config else None,
            services={digest: answer.result() for digest, answer in services.items()},
            processes=heard("processes", processes.result, {}),
            flow_runs=heard("flow runs", runs.result, ()),
            silent=silent,
            has_config=has_config,
        )


def drift(session: Session) -> list[Difference]:
    """Return every difference between the ledger and what is seen now. Raises UnreachableError without Postgres."""
    with session.ledger.connect() as conn:
        intended = read_intended(conn, session)
    return differences(intended, look(session, intended))


def both_sides(session: Session) -> tuple[Intended, Seen]:
    """Return both sides with the whole of stack config compared, which renders it anew: for `doctor`."""
    with session.ledger.connect() as conn:
        intended = read_intended(conn, session)
    return replace(intended, cause=config.cause_of(session.rendered_config())), look(session, intended)


def record_observation(session: Session, *, actor: str) -> Entry | None:
    """Look, and record what differs: see `record_differences`. Raises UnreachableError without Postgres."""
    return record_differences(session, drift(session), actor=actor)


def record_differences(session: Session, found: list[Difference], *, actor: str) -> Entry | None:
    """Append an `observed` entry if the differences are others than those of the last one; None if they are not.

    While a deployer holds the lease, what differs may be on its way: nothing is recorded then. The entry's details
    are {"differences": [{"part", "what", "where", "remedy"}, ...]}, an empty list once all agrees again.
    """
    environment, data = session.environment, documents(found)
    with session.ledger.connect() as conn:

        def write() -> Entry | None:
            with control_transaction(conn, None):
                lock_pointer(conn, environment)  # of two who look at once, one records
                held = current(conn, environment)
                if held is not None and held.in_force:
                    return None
                last = read_latest(conn, environment, "observed")
                if (last.details.get("differences") if last else []) == data:
                    return None
                return append(conn, environment, "observed", None, actor=actor, details={"differences": data})

        return retry(write)


def ask_service(port: int) -> ServiceSeen:
    """Return what the service on `port` of this machine says of itself: which release, and whether it is ready."""
    try:
        _, answer = request_json(f"http://127.0.0.1:{port}/readyz")
    except (OSError, ValueError, http.client.HTTPException):
        return ServiceSeen(None)
    if not isinstance(answer, dict) or not isinstance(answer.get("digest"), str):
        return ServiceSeen("something else than a release's service")
    problems = tuple(str(problem) for problem in answer.get("problems") or ())
    return ServiceSeen(answer["digest"], ready=answer.get("ready") is True, problems=problems)


def flow_runs_under_way(settings: EnvironmentSettings) -> tuple[FlowRunSeen, ...]:
    """Return the environment's flow runs that have begun and not ended. Raises MlopsError without an answer."""
    api_url, pool = settings.prefect_api_url.rstrip("/"), settings.work_pool
    query: dict[str, Any] = {"flow_runs": _UNDER_WAY, "limit": 100}
    if pool is not None:  # other environments use this server too
        query["work_pools"] = {"name": {"any_": [pool]}}
    try:
        status, answer = request_json(f"{api_url}/flow_runs/filter", query)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise MlopsError(f"Prefect did not answer ({type(error).__name__})", where=api_url) from error
    if status != http.client.OK or not isinstance(answer, list):
        raise MlopsError(f"Prefect answered with status {status}", where=api_url)
    return tuple(
        FlowRunSeen(
            name=str(run["name"]),
            asked=next(
                (t.removeprefix(ASKED_TAG) for t in run.get("tags") or () if t.startswith(ASKED_TAG)), None
            ),
            reported=(run.get("labels") or {}).get(REPORTED_LABEL),
        )
        for run in answer
    )


def _processes(session: Session) -> dict[str, bool]:
    if session.reach is not None:
        from mlops_sdk.cluster.pods import read_pods

        return {pod.workload: pod.running for pod in read_pods(session.reach.api)}
    from mlops_sdk.platform.supervisor import Supervisor

    return {name: one.running for name, one in Supervisor(session.folder).statuses().items()}


def _routes(session: Session) -> Routes | None:
    try:
        return session.traffic.read()
    except NotFoundError:
        return None


def _config(session: Session) -> ConfigSeen | None:
    try:
        document = read_plain(session.stack.config.path, session.environment)
    except NotFoundError:
        return None
    return ConfigSeen(
        live=config.live_of(document),
        releases=frozenset(section.digest for section in config.releases_of(document)),
        cause=config.cause_of(document),
    )


def request_json(url: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Return status and JSON of an answer, whatever the status. Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with closing(kind(cast("str", parts.hostname), parts.port, timeout=TIMEOUT_S)) as connection:
        connection.request(
            "GET" if body is None else "POST",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
