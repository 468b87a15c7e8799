"""The step that builds one derived table: an attempt, a flow run in the release's own code, the seal.

Two deployers of one fingerprint: one builds, the other waits and uses what it built.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mlops_sdk.errors import DeadlineError, MlopsError
from mlops_sdk.ledger.database import LeaseToken
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.environment.progress import Note
from mlops_sdk.rollout.locking.lock import release_code
from mlops_sdk.runtime.flow_marks import ASKED_TAG
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder, BuildSettings, ModelPin
from mlops_sdk.state import build
from mlops_sdk.traffic.schedules import WORK_POOL

if TYPE_CHECKING:
    from mlops_sdk.rollout.apply.apply import Run

BUILD_FLOW = "mlops_sdk/state/build_flow.py:build_table"
WAIT_FOR_OTHERS_S = 1.0


def build_table(run: Run, table: str) -> None:
    """Build a derived table of the run's release and seal it, unless it is sealed already.

    Raises what the builder said, DeadlineError when the run's time is over.
    """
    session = run.session
    code = release_code(session.project, run.lock.code.commit, session.report, data=run.lock.data)
    sealed = build_or_wait(
        session.operator.operator_url,
        session.environment,
        run.lock.digest,
        table,
        run.binding().fingerprints[table],
        lease=run.lease.token,
        master_key=session.operator.master_key,
        start=lambda order: (_run_child if session.reach else _run_flow)(run, order, code),
        left_s=run.left_s,
        report=lambda line: session.report(Note(line)),
    )
    session.report(Note(f"sealed {sealed.physical}: {sealed.rows:,} rows"))


def build_or_wait(
    conninfo: SecretStr,
    environment: str,
    digest: str,
    table: str,
    fingerprint: str,
    *,
    lease: LeaseToken,
    master_key: SecretStr,
    start: Callable[[BuildOrder], None],
    left_s: Callable[[], float],
    report: Callable[[str], None],
) -> build.BuildStatus:
    """Have a derived table built and seal it: by `start`, which returns once the builder has ended, or by others.

    While another deployer's builder is alive it is waited for; if that dies, this one goes on. Raises what
    `start` raises, DeadlineError when `left_s` is over.
    """
    while True:
        order = build.prepare(conninfo, environment, digest, table, lease=lease, master_key=master_key)
        if order is not None:
            start(order)
        found = build.status(conninfo, fingerprint)
        if found is not None and found.state in ("loaded", "sealed"):
            return build.seal(conninfo, fingerprint, lease=lease)
        if found is None or order is not None:
            raise MlopsError(f"the build of {table} ended without loading it", where=environment)
        of = f" of {found.total:,}" if found.total is not None else ""
        report(f"another builder works on {table}: {found.rows:,}{of} rows so far")
        if left_s() < WAIT_FOR_OTHERS_S:
            raise DeadlineError(f"another builder of {table} did not end in time")
        time.sleep(WAIT_FOR_OTHERS_S)


def _run_flow(run: Run, order: BuildOrder, code: ReleaseCode) -> None:
    # Its HTTP client costs a quarter of a second, and most deploys and every rollback build nothing.
    from mlops_sdk.rollout.environment.flow_runs import FlowJob, Prefect

    session = run.session
    folder = session.folder / "env"
    path = folder / f"build-{order.fingerprint}.env"
    _settings(run, order).write(path)
    job = FlowJob(
        flow="build_table",
        deployment=_deployment(run, order),
        checkout=code.checkout,
        entrypoint=BUILD_FLOW,
        work_pool=session.settings.work_pool or WORK_POOL,
        job_variables=job_variables(code, path.stem),
        tags=release_tags(run.lock.release, run.lock.digest),
    )
    try:
        with Prefect(session.settings.prefect_api_url) as prefect:
            prefect.run(
                job,
                timeout_s=run.left_s(),
                name=f"{run.lock.release} {order.table} #{order.attempt}",
                log=lambda line: session.report(Note(line)),
            )
    finally:
        path.unlink(missing_ok=True)


def _run_child(run: Run, order: BuildOrder, code: ReleaseCode) -> None:
    """Build from this machine by the environment's forwards, in the release's own code."""
    from mlops_sdk.runtime import env_file

    session = run.session
    folder = session.folder / "env"
    path = folder / f"build-{order.fingerprint}.env"
    _settings(run, order).write(path)
    try:
        variables = env_file.load_layers(session.folder, "environment", path.stem, environ={})
        code.run_lines(
            "mlops_sdk.state.build_command",
            variables,
            timeout_s=run.left_s(),
            report=lambda line: session.report(Note(line)),
        )
    finally:
        path.unlink(missing_ok=True)


def _deployment(run: Run, order: BuildOrder) -> str:
    """The name of the deployment in Prefect; on a server that others use too, it has the pool's name in it."""
    pool = run.session.settings.work_pool
    return f"{f'{pool}-' if pool else ''}{run.lock.release}-{order.table}"


def release_tags(release: str, digest: str) -> tuple[str, ...]:
    """Return the tags by which Prefect knows which release a flow run was started for."""
    return (f"release:{release}", f"{ASKED_TAG}{digest}")


def job_variables(code: ReleaseCode, layer: str) -> dict[str, str]:
    """Return what the work pool's job template needs: the code, and the `.env` file read after the platform's."""
    return {"python": str(code.python), "working_dir": str(code.checkout), "layer": layer}


def _settings(run: Run, order: BuildOrder) -> BuildSettings:
    """What the builder is told: the environment, the release, and the attempt's own role."""
    session, lock = run.session, run.lock
    return BuildSettings(
        **dict(session.settings),
        release=lock.release,
        release_digest=lock.digest,
        commit=lock.code.commit,
        database_user=order.role,
        database_password=derive(session.operator.master_key, order.role),
        state=lock.state.entry if lock.state else None,
        models={
            key: ModelPin(name=model.name, version=model.version, digest=model.digest)
            for key, model in lock.models.items()
        },
        parameters=dict(lock.parameters),
        build=order,
    )
