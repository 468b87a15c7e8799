"""The agent's process: every duty in the background, page and receiver of events in front, until SIGTERM or SIGINT.

It must not know what a duty does or what the page shows.
"""

import atexit
import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mlops_sdk.errors import MlopsError, PolicyError
from mlops_sdk.platform.inside import is_inside
from mlops_sdk.platform.ports import LOOPBACK, who_listens
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.agent.duties import all_duties, duty_named
from mlops_sdk.rollout.agent.duty import Did, Duty, DutyState, Work
from mlops_sdk.rollout.agent.react import EVENTS
from mlops_sdk.rollout.agent.runner import Runner
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Event, Note, Report, silent
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import ConfigFile, read_plain

_REQUESTS_END_S = 1
_DUTIES_END_S = 5.0
logger = logging.getLogger("mlops.agent")


def run_once(project: Project, environment: str, duty: str, report: Report = silent) -> Did:
    """Do one duty now. Raises NotFoundError for an unknown one, and whatever the duty raises."""
    found = duty_named(duty)
    with open_session(project, environment, report) as session:
        work = Work(session, threading.Event())
        try:
            return found.run(work)
        finally:
            work.close()


CLUSTER_PORT = 8080
"""The agent's port in its pod."""


def agent_port(project: Project, environment: str) -> int:
    """The port of the environment's agent. Raises PolicyError where stack config, of an earlier version, has none."""
    if is_inside(environment):
        return CLUSTER_PORT
    file = ConfigFile(project.root / "stacks", environment)
    port = config.ports_of(read_plain(file.path, environment)).get("agent")
    if port is None:
        raise PolicyError(
            "stack config has no port for the agent",
            where=str(file.path),
            remedy=f"`mlops up {environment}` adds one",
        )
    return port


def agent_url(project: Project, environment: str) -> str:
    """Where the environment's agent serves the page and receives events. Raises as `agent_port` does."""
    return f"http://{LOOPBACK}:{agent_port(project, environment)}"


def known_states(project: Project, environment: str) -> list[dict[str, Any]]:
    """The duties, and what the environment's agent says of their last runs while it answers."""
    answered = {state["name"]: state for state in _asked(project, environment)}
    return [
        answered.get(duty.name) or DutyState(duty.name, duty.does, duty.period_s).document()
        for duty in all_duties()
    ]


def serve(
    project: Project,
    environment: str,
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    duties: Sequence[Duty] | None = None,
) -> None:
    """Run every duty and serve the page, and the receiver of events, in the foreground, until a signal.

    Raises NotFoundError for an environment that was never brought up, MlopsError when the port is taken.
    """
    import uvicorn

    from mlops_sdk.rollout.agent.page.app import LOOPBACK_NAMES, create_page
    from mlops_sdk.rollout.events.serve import event_routes

    def open_work(stop: threading.Event) -> Work:
        # Duties use it until the process ends: so do the ways into a cluster.
        opened = ExitStack()
        atexit.register(opened.close)
        return Work(opened.enter_context(open_session(project, environment, _log)), stop)

    open_work(threading.Event())  # an environment that is not there is said at once
    wanted = agent_port(project, environment) if port is None else port
    _refuse_taken(environment, wanted)
    runner = Runner(all_duties() if duties is None else duties, open_work)
    page = create_page(
        project,
        environment,
        runner.states,
        allowed_hosts=LOOPBACK_NAMES if host in (*LOOPBACK_NAMES, "::1") else ("*",),
        more_routes=event_routes(project, environment, made=lambda: runner.wake(EVENTS)),
        on_shutdown=runner.stop,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            page,
            host=host,
            port=wanted,
            access_log=False,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=_REQUESTS_END_S,
        )
    )

    def end(*_: object) -> None:
        # A signal may come before uvicorn listens to them: it must end then too. Afterwards uvicorn raises the signal
        # that ended it again, when all that is left is to end.
        server.should_exit = True
        runner.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    logger.info("%s: %d duties; the page is at http://%s:%d", environment, len(runner.states()), host, wanted)
    runner.start()
    server.run()
    runner.stop()
    busy = runner.join(_DUTIES_END_S)
    if busy:
        # An engine that one of them drives ends with this process, and so does its lease.
        logger.warning("ended while busy: %s", ", ".join(busy))
        logging.shutdown()
        os._exit(0)


def _log(event: Event) -> None:
    if isinstance(event, Note):
        logger.info("%s", event.text)


def _refuse_taken(environment: str, port: int) -> None:
    listener = who_listens(port)
    if listener is not None:
        raise MlopsError(
            f"port {port} is taken by {listener}",
            where=environment,
            remedy=f"the environment's own agent may serve it already: http://{LOOPBACK}:{port}; or choose another"
            " with --port",
        )


def _asked(project: Project, environment: str) -> list[dict[str, Any]]:
    import httpx

    project.check_environment(environment)
    try:
        answer = httpx.get(f"{agent_url(project, environment)}/duties", timeout=3.0, trust_env=False)
        document = answer.raise_for_status().json()
        # Another program may have the port by now.
        return list(document["duties"]) if document.get("environment") == environment else []
    except (httpx.HTTPError, MlopsError, ValueError, KeyError):
        return []
