"""Has the orchestrator's flow ask the live release for a date, and kills a process meanwhile if that is wished.

Which date: the one after the last that anybody asked this job for, so that the demo can run again.
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Literal, assert_never

from mlops_sdk.platform.programs import PREFECT_WORKER, invoker_name, jobs_name
from tools.demo.pipelines.stage import Stage

Victim = Literal["consumer", "invoker", "worker"]
_AT_WORK_S, _FLOW_S, _CUT_OFF_S = 120.0, 240, 90


def next_day(stage: Stage, job: str, first: date) -> date:
    """The date to ask for."""
    with stage.operator() as conn:
        row = conn.execute("SELECT max(run_date) FROM mlops.run WHERE job = %s", [job]).fetchone()
    return row[0] + timedelta(days=1) if row and row[0] else first


def have_done(stage: Stage, tag: str, job: str, day: date, kill: Victim | None) -> None:
    """Have the flow `days` of the release ask its invoker for the date and confirm it; one run, whatever is killed.

    Prefect begins no flow again that died with its worker: it is asked for once more, as a person would do.
    """
    started = time.monotonic()
    if kill is None:
        _flow(stage, tag, day, _FLOW_S, may_fail=False)
    else:
        with ThreadPoolExecutor(1) as beside:
            killing = beside.submit(_kill, stage, tag, job, day, kill)
            # Prefect says of no flow that its worker was killed: who waits gives up at some time.
            limit_s = _CUT_OFF_S if kill == "worker" else _FLOW_S
            failed = _flow(stage, tag, day, limit_s, may_fail=True)
            killing.result()
        if failed:
            _flow(stage, tag, day, _FLOW_S, may_fail=False)
    runs = _runs(stage, job, day)
    shown = ", ".join(f"{status} by attempt {attempt}" for status, attempt in runs)
    stage.out.say(f"  {job} of {day}: {shown}, confirmed after {time.monotonic() - started:.1f} s")
    stage.require([status for status, _ in runs] == ["done"], f"{job} of {day} is one run, and it is done")


def _flow(stage: Stage, tag: str, day: date, timeout_s: int, *, may_fail: bool) -> int:
    told = ("-p", f"first={day}", "-p", f"last={day}", "-p", "invoker=true")
    watch = ("--watch", "--watch-interval", "1", "--watch-timeout", str(timeout_s))
    command = ("prefect", "deployment", "run", f"days/{tag}", *told, *watch)
    return stage.out.run(*command, environ=stage.settings, may_fail=may_fail)


def _kill(stage: Stage, tag: str, job: str, day: date, victim: Victim) -> None:
    """Kill the victim with SIGKILL once the job is at work. Raises RuntimeError if it could not."""
    deadline = time.monotonic() + _AT_WORK_S
    while "running" not in [status for status, _ in _runs(stage, job, day)]:
        if time.monotonic() > deadline:
            raise RuntimeError("the job was never seen at work: nothing was killed")
        time.sleep(0.05)
    name = _name(stage.digest(tag), victim)
    pid = stage.supervisor().statuses()[name].pid
    if pid is None:
        raise RuntimeError(f"{name} does not run: nothing was killed")
    os.kill(pid, signal.SIGKILL)
    stage.out.say(f"  killed {name} (process {pid}) while the job was at work")


def _name(digest: str, victim: Victim) -> str:
    match victim:
        case "consumer":
            return jobs_name(digest)
        case "invoker":
            return invoker_name(digest)
        case "worker":
            return PREFECT_WORKER
    assert_never(victim)


def _runs(stage: Stage, job: str, day: date) -> list[tuple[str, int]]:
    with stage.operator() as conn:
        return conn.execute(
            "SELECT status, attempt FROM mlops.run WHERE job = %s AND run_date = %s", [job, day]
        ).fetchall()
