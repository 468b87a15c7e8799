"""One job: it tells what its own process was told, once nobody holds it up."""

import os
import time
from pathlib import Path

from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.jobs import Job, Jobs

HELD = "held"  # a file of this name beside the project's environment holds the job up


def settings(context: JobContext) -> dict[str, str]:
    """Every variable of the table of keys that this process has; of secrets only that they are there."""
    known = ServiceSettings.parse()
    held = known.project_root / ".mlops" / HELD
    print("at work as", known.release, flush=True)
    while held.exists():
        time.sleep(0.05)
    has = {name: os.environ[name] for name in BY_NAME if name in os.environ}
    return {
        **{name: "***" if BY_NAME[name].secret else value for name, value in has.items()},
        "folder": str(Path.cwd()),
    }


JOBS = Jobs(Job("settings", f"{__name__}:settings", time_limit_s=120))
