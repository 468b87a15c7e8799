"""The receiver of an environment: its routes wired to ledger, registry and checkout, and a process for them alone."""

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.routing import Route

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.platform.git import fetch
from mlops_sdk.registry.webhook_client import register_webhook
from mlops_sdk.registry.webhooks import RegistryChange
from mlops_sdk.release.next_release import CodeUpdate
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.rollout.environment.opening import open_session, registry_of
from mlops_sdk.rollout.environment.progress import Report, silent
from mlops_sdk.rollout.events.make import Made, Origin, code_update, is_candidate, make_release
from mlops_sdk.rollout.events.poll import Polled, committed, poll, problem_of, seen, told
from mlops_sdk.rollout.events.receiver import MLFLOW_PATH, CodeOrder, routes
from mlops_sdk.runtime.passwords import derive_shared

_WEBHOOK, _CI = "mlflow-webhook", "ci-events"
_log = logging.getLogger(__name__)


def event_routes(
    project: Project, environment: str, *, made: Callable[[], None] = lambda: None
) -> list[Route]:
    """The receiver's routes for an environment; `made` is called when a release was made. See `receiver.routes`.

    What `[tool.mlops.events]` declares is read for each delivery: a change of it needs no restart. Raises NotFoundError
    for an environment that was never brought up.
    """
    with open_session(project, environment) as session:
        key = session.operator.master_key

    def was_seen(delivery: str) -> bool:
        with open_session(project, environment) as session:
            return seen(session, delivery)

    def was_told(change: RegistryChange, delivery: str) -> Polled:
        with open_session(load_project(project.root), environment) as session:
            return told(session, change, delivery)

    return routes(
        webhook_secret=derive_shared(key, _WEBHOOK),
        ci_token=derive_shared(key, _CI),
        seen=was_seen,
        told=was_told,
        update_code=lambda order: _update_code(load_project(project.root), environment, order),
        made=made,
    )


def register(project: Project, environment: str, url: str) -> dict[str, Any]:
    """Register the environment's webhook in its MLflow; `url` is where the receiver is reached, without a path.

    The secret is derived from the environment's master key. Raises InputError for an address that is not HTTP, and what
    `register_webhook` raises.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url!r} is not an address", remedy="write http://HOST:PORT or https://HOST")
    with open_session(project, environment) as session:
        secret = derive_shared(session.operator.master_key, _WEBHOOK)
    found = register_webhook(
        registry_of(project, environment).uri,
        name=f"mlops-{project.app}-{environment}",
        url=url.rstrip("/") + MLFLOW_PATH,
        secret=secret,
    )
    return {"environment": environment, **asdict(found)}


def ci_token(project: Project, environment: str) -> str:
    """The token with which a CI system tells this environment of code. It is for the CI system's store of secrets."""
    with open_session(project, environment) as session:
        return derive_shared(session.operator.master_key, _CI).get_secret_value()


def serve(
    project: Project, environment: str, *, host: str, port: int, every_s: float, report: Report = silent
) -> None:
    """Serve the receiver and poll every `every_s` seconds, and when a release was made, until SIGTERM or SIGINT."""
    import uvicorn

    application = application_of(project, environment, every_s=every_s, report=report)
    config = uvicorn.Config(
        application, host=host, port=port, access_log=False, server_header=False, log_level="info"
    )
    uvicorn.Server(config).run()


def application_of(
    project: Project, environment: str, *, every_s: float, report: Report = silent
) -> Starlette:
    """The receiver as an ASGI application that polls while it runs."""
    wake, end = threading.Event(), threading.Event()

    def keep_polling() -> None:
        while not end.is_set():
            try:
                for made_now in poll(project, environment, report=report).made:
                    _log.info("poll: %s", made_now.sentence())
            except (MlopsError, psycopg.Error) as error:
                # The next look comes; a server that is away is no reason to stop looking.
                what = problem_of(error) if isinstance(error, MlopsError) else " ".join(str(error).split())
                _log.error("poll: %s", what)
            except Exception:  # noqa: BLE001 - the boundary of a thread that must go on looking
                _log.exception("poll")
            wake.wait(every_s)
            wake.clear()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Not waited for at the end: a deploy that is cut off is turned back by the agent, or gone on with by a person.
        threading.Thread(target=keep_polling, name="poll", daemon=True).start()
        yield
        end.set()
        wake.set()

    return Starlette(routes=event_routes(project, environment, made=wake.set), lifespan=lifespan)


def _update_code(project: Project, environment: str, order: CodeOrder) -> Made:
    event = _known_code(project, order.ref)
    with open_session(project, environment) as session:
        candidate = is_candidate(project, environment, event, order.candidate)
        origin = Origin("ci", order.id, deploy=project.events.deploy)
        done = make_release(session, event, candidate=candidate, origin=origin)
    for problem in committed(project, done):
        _log.error("event: %s", problem)
    return done


def _known_code(project: Project, ref: str) -> CodeUpdate:
    """A CI system tells of what it was just given: this checkout may have to fetch it first."""
    try:
        return code_update(project, ref)
    except NotFoundError:
        fetch(project.root)
        return code_update(project, ref)
