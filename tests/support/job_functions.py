"""Jobs for tests: each is run in a process of its own by the job consumer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from mlops_sdk.messaging import RefusedError, once
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.jobs import Job, Jobs


def count(context: JobContext) -> dict[str, object]:
    """The effect of a date, once, as the release's role; waits inside of the transaction while FOLDER/wait is there."""
    folder = Path(os.environ["TEST_FOLDER"])
    print("counting", context.run_date)
    context.progress(0.5, "half")
    conninfo = ServiceSettings.parse().database_conninfo().get_secret_value()
    with psycopg.connect(conninfo, autocommit=True) as conn, conn.transaction():
        if once(conn, "scores_marks", context.message):
            conn.execute("INSERT INTO scores VALUES (%s)", [f"{context.run_date} {context.message.attempt}"])
        (folder / "inside").write_text(str(os.getpid()))
        while (folder / "wait").exists():
            time.sleep(0.02)
    return {"date": context.run_date.isoformat()}


def say(context: JobContext) -> str:
    """Writes to both outputs, says how far it is, and returns something."""
    print("to standard output")
    print("to standard error ü", file=sys.stderr)
    context.progress(0.25, "a quarter")
    return context.job


def fail(context: JobContext) -> None:
    """Always raises."""
    raise ValueError("the source has no column `amount`")


def refuse(context: JobContext) -> None:
    """Never takes any date."""
    raise RefusedError(f"{context.run_date} is an empty day")


def hang(context: JobContext) -> None:
    """Never ends, and neither does the process that it starts."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid)
    time.sleep(600)


def die(context: JobContext) -> None:
    """Ends the process as a crash in native code would."""
    os.abort()


def leave(context: JobContext) -> None:
    """Ends the process as if all were well, as a command line that is called in place of a function does."""
    sys.exit(0 if context.job == "leave" else 3)


def nothing_to_average(context: JobContext) -> dict[str, float]:
    """Returns what is no JSON."""
    return {"mean": float("nan")}


HERE = "tests.support.job_functions"
JOBS = Jobs(
    Job("count", f"{HERE}:count", time_limit_s=60),
    Job("say", f"{HERE}:say"),
    Job("fail", f"{HERE}:fail"),
    Job("refuse", f"{HERE}:refuse"),
    Job("hang", f"{HERE}:hang", time_limit_s=6),
    Job("die", f"{HERE}:die"),
    Job("leave", f"{HERE}:leave"),
    Job("leave-3", f"{HERE}:leave"),
    Job("nan", f"{HERE}:nothing_to_average"),
    Job("missing", f"{HERE}:nowhere"),
)
