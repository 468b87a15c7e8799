"""An environment's platform: brought up by Pulumi, stopped by its supervisor, deleted with its data."""

import shutil
import time

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.platform.postgres import remove_data
from mlops_sdk.platform.programs import PREFECT_WORKER
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session, place_of
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.pulumi_events import narrate
from mlops_sdk.runtime import env_file
from mlops_sdk.stack.drive import Stack
from mlops_sdk.traffic.handover import reconcile


def bring_up(project: Project, environment: str, *, report: Report = silent) -> dict[str, str]:
    """Make the environment match its stack config, which is made from the committed example where it is missing.

    Returns the addresses to look at, by name. A second call changes nothing; two at once are safe: one waits.
    """
    project.check_environment(environment)
    stack = Stack(project, environment, report=lambda line: report(Note(line)))
    stack.init()
    started = time.monotonic()
    result = stack.up(narrate(report))
    made = sum(count for operation, count in result.counts.items() if operation != "same")
    report(Note(f"{environment} is up: {made} resources changed in {time.monotonic() - started:.1f} s"))
    with open_session(project, environment, report) as session:
        reconcile(session.operator.operator_url, environment, session.traffic, session.schedules)
        return session.addresses()


def stop(project: Project, environment: str, *, report: Report = silent, timeout_s: float = 60.0) -> int:
    """Stop every process of the environment, databases last; return how many ran.

    Raises DeadlineError naming what still runs after `timeout_s` seconds.
    """
    project.check_environment(environment)
    if place_of(project, environment) is not None:
        raise InputError(
            f"{environment} runs on a cluster, and `down` stops the processes of this machine",
            remedy=f"`pulumi destroy -s {environment}` removes it with its data",
        )
    supervisor = Supervisor(project.environment_folder(environment))
    running = [status for status in supervisor.statuses().values() if status.pid]
    if any(status.name == PREFECT_WORKER for status in running):
        _end_flow_runs(project, environment, supervisor, report)
    for status in running:
        report(Note(f"stopping {status.name} (pid {status.pid})"))
    supervisor.shutdown(timeout_s=timeout_s)
    return len(running)


def _end_flow_runs(project: Project, environment: str, supervisor: Supervisor, report: Report) -> None:
    """Stop the worker and tell Prefect that its runs are over: else it would call them running for ever."""
    from mlops_sdk.rollout.environment.flow_runs import Prefect

    supervisor.stop(PREFECT_WORKER)
    values = env_file.load_layers(project.environment_folder(environment), "environment")
    try:
        with Prefect(values["PREFECT_API_URL"]) as prefect:
            pool = values.get("MLOPS_WORK_POOL")  # on a server of its own, every run is the environment's
            for name in prefect.crash_unfinished_runs("the environment was stopped", work_pool=pool):
                report(Note(f"flow run {name} was ended"))
    except UnreachableError as error:
        # A server that is down is no reason not to stop the rest.
        report(Note(f"flow runs could not be ended: {error.what}"))


def delete(project: Project, environment: str) -> None:
    """Remove the environment's folder, its Postgres files and its stack config. Nothing of it may run."""
    folder = project.environment_folder(environment)
    if folder.exists():
        remove_data(folder / "postgres")
        shutil.rmtree(folder)
    (project.root / "stacks" / f"Pulumi.{environment}.yaml").unlink(missing_ok=True)
