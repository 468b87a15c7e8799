"""Gathers what readiness is judged by, for several releases at once: Postgres, git, the model cache, services.

Cheap enough for `mlops history`: one query, one git process, and what must be asked of servers is asked at once.
It must not change the environment or judge.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal
from urllib.parse import urlencode

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, UnreachableError
from mlops_sdk.ledger.bindings import read_lock
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.ledger.periods import read_blocked
from mlops_sdk.platform import dependencies
from mlops_sdk.platform.git import files_at
from mlops_sdk.registry.cache import looks_cached
from mlops_sdk.release.digest import short
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.rollout.environment.code import DEPENDENCY_LOCK
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.data import data_facts
from mlops_sdk.rollout.observed.readiness import ModelFacts, Readiness, ReleaseFacts, judge
from mlops_sdk.rollout.observed.runtime import ask_service, request_json
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ServiceSettings

# Of forks that were lost only the control tables know; a release that was never cut has its own in a schema of the
# cut's. `release_table` are derived tables, which stand as views in the pg_schema.
_STATE = """
SELECT b.digest, b.release, b.status, b.role, b.service_port,
       to_regnamespace(quote_ident(b.pg_schema)) IS NOT NULL AND to_regrole(quote_ident(b.role)) IS NOT NULL
         AND NOT EXISTS (SELECT FROM mlops.release_table AS t WHERE t.env = b.env AND t.digest = b.digest
                            AND to_regclass(format('%%I.%%I', b.pg_schema, t.table_name)) IS NULL),
       ARRAY(SELECT f.table_name FROM mlops.fork AS f WHERE f.env = b.env AND f.digest = b.digest
                AND to_regclass(format('%%I.%%I', f.pg_schema, f.table_name)) IS NULL ORDER BY 1),
       ARRAY(SELECT f.table_name FROM mlops.fork AS f WHERE f.env = b.env AND f.digest = b.digest
                AND f.state <> 'following' ORDER BY 1)
  FROM mlops.binding AS b WHERE b.env = %s AND b.digest = ANY(%s)
"""


@dataclass(frozen=True)
class Standing:
    """What of a bound release stands in Postgres; `in_schema` as in `ReleaseFacts`."""

    digest: str
    release: str
    status: Literal["bound", "cut", "unreferenced", "retired"]
    role: str
    service_port: int
    in_schema: bool
    missing_forks: tuple[str, ...]
    stale_forks: tuple[str, ...]

    @property
    def absent(self) -> str:
        """What is not there, in words; empty where all is."""
        parts = [] if self.in_schema else ["pg_schema, role or a table"]
        return ", ".join([*parts, *(f"forked table {name}" for name in self.missing_forks)])


def read_standing(conn: Connection, environment: str, digests: Iterable[str]) -> dict[str, Standing]:
    """Return what of these releases stands in Postgres, by digest. Those never bound here are left out."""
    rows = conn.execute(_STATE, [environment, sorted(set(digests))]).fetchall()
    return {
        digest: Standing(
            digest, release, status, role, port, whole, tuple(missing), tuple(set(stale) - set(missing))
        )
        for digest, release, status, role, port, whole, missing, stale in rows
    }


def read_readiness(conn: Connection, session: Session, digests: Iterable[str]) -> dict[str, Readiness]:
    """Return the readiness of each of these releases, by digest. Those that were never bound here are left out.

    Raises UnreachableError when Postgres does not answer; what else does not answer is a reason.
    """
    found = read_standing(conn, session.environment, digests)
    blocked = read_blocked(conn, session.environment, found)
    standing = [one for one in found.values() if one.status != "retired"]
    locks = {one.digest: read_lock(conn, one.digest) for one in standing}
    code = _code(session, locks)
    data = data_facts(session.project, locks)
    with ThreadPoolExecutor(max_workers=2 * len(standing) + 1) as pool:
        services = {one.digest: pool.submit(ask_service, one.service_port) for one in standing}
        secrets = {one.digest: pool.submit(_secrets, session, one) for one in standing if one.in_schema}
        models = {digest: pool.submit(_models, session, lock) for digest, lock in locks.items()}
    facts = [
        ReleaseFacts(
            environment=session.environment,
            release=one.release,
            digest=one.digest,
            status=one.status,
            blocked=blocked.get(one.digest),
            in_schema=one.in_schema,
            missing_forks=one.missing_forks,
            stale_forks=one.stale_forks,
            service=_service(locks[one.digest], services[one.digest].result().digest),
            models=models[one.digest].result(),
            data=data[one.digest],
            secrets=secrets[one.digest].result() if one.digest in secrets else "",
            **code[one.digest],
        )
        for one in standing
    ]
    gone = [
        ReleaseFacts(session.environment, one.release, one.digest, one.status, blocked.get(one.digest))
        for one in found.values()
        if one.status == "retired"
    ]
    return {one.digest: judge(one) for one in [*facts, *gone]}


def _service(lock: Lock, seen: str | None) -> Literal["none", "running", "down"]:
    if lock.service is None:
        return "none"
    return "running" if seen == lock.digest else "down"


def _code(session: Session, locks: Mapping[str, Lock]) -> dict[str, dict[str, Any]]:
    """By digest, what `ReleaseFacts` says of a release's code. A machine without git or Python is a reason too."""
    commits = {digest: lock.code.commit for digest, lock in locks.items()}
    try:
        packages = files_at(session.project.root, sorted(set(commits.values())), DEPENDENCY_LOCK)
    except MlopsError as error:
        return {digest: {"code": error.what} for digest in locks}
    return {digest: _packages(session, commit, packages[commit]) for digest, commit in commits.items()}


def _packages(session: Session, commit: str, lock: bytes | None) -> dict[str, Any]:
    if lock is None:
        return {"code": f"commit {commit[:12]} with its lock of dependencies is not in this repository"}
    try:
        return {"has_packages": dependencies.is_made(session.project.root, lock)}
    except dependencies.DependencyError as error:
        return {"code": f"its dependency environment cannot be made: {error}"}


def _models(session: Session, lock: Lock) -> tuple[ModelFacts, ...]:
    return tuple(_model(session, key, model) for key, model in lock.models.items())


def _model(session: Session, key: str, model: LockedModel) -> ModelFacts:
    cached = looks_cached(model.digest, session.settings.model_cache)
    problem = "" if cached else _registry_problem(session, model)
    return ModelFacts(key, model.name, model.version, cached, problem)


def _registry_problem(session: Session, model: LockedModel) -> str:
    """Why the registry cannot give a version; empty where it has it. Its digest shows when it is downloaded."""
    uri = session.project.registry_uri or session.settings.mlflow_tracking_uri
    query = urlencode({"name": model.name, "version": model.version})
    try:
        status, answer = request_json(f"{uri.rstrip('/')}/api/2.0/mlflow/model-versions/get?{query}")
    except (OSError, ValueError, HTTPException) as error:
        return f"MLflow did not answer ({type(error).__name__})"
    if status != 200 or not isinstance(answer, dict):
        return f"MLflow has no such version (HTTP {status})"
    return ""


def _secrets(session: Session, one: Standing) -> str:
    """What is wrong with the release's variables, or its role's password; empty where nothing is.

    Variables that are not written (its service was taken away) are written by the rollback.
    """
    layer = f"release-{short(one.digest)}"
    password = derive(session.operator.master_key, one.role)
    if (session.folder / "env" / f"{layer}.env").exists():
        try:
            password = ServiceSettings.load(
                session.folder, "environment", layer, environ={}
            ).database_password
        except (InputError, NotFoundError) as error:
            return f"its variables cannot be read: {error.what}"
    settings = session.settings
    info = make_conninfo(
        host=settings.database_host,
        port=settings.database_port,
        dbname=settings.database_name,
        user=one.role,
        password=password.get_secret_value(),
    )
    try:
        connect(SecretStr(info), "mlops readiness").close()
    except AuthError:
        return "its role cannot log in with the password that its variables hold"
    except UnreachableError as error:
        return f"its role cannot log in: {error.what}"
    return ""
