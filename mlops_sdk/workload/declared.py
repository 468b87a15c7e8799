"""`python -m mlops_sdk.workload.declared JSON`: has the code the jobs and flows that its manifest names?

Run as a child in the release's checkout and dependency environment, the only place where release code is imported.
It must not talk to a server.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.release.flows import FlowSpec


def faults(jobs: str | None, flows: dict[str, FlowSpec]) -> Iterator[str]:
    """What cannot be found, and schedules that mean no moment, each as `key: what is wrong`."""
    if jobs is not None:
        from mlops_sdk.workload.consume import load_jobs

        try:
            load_jobs(jobs)
        except MlopsError as error:
            yield f"jobs: {error.what}"
    for name, flow in flows.items():
        for key, fault in (("run", _of_code(flow.run)), ("schedule", _of_schedule(flow))):
            if fault:
                yield f"flows.{name}.{key}: {fault}"


def _of_code(entrypoint: str) -> str:
    from prefect.exceptions import PrefectException
    from prefect.flows import load_flow_from_entrypoint

    try:
        load_flow_from_entrypoint(entrypoint)
    except (ImportError, AttributeError, OSError, SyntaxError, TypeError, PrefectException) as error:
        return f"{entrypoint} is no flow: {type(error).__name__}: {error}"
    return ""


def _of_schedule(flow: FlowSpec) -> str:
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    if flow.schedule is None:
        return ""
    try:
        CronSchedule(cron=flow.schedule, timezone=flow.timezone)
    except ValidationError as error:
        return f"{flow.schedule!r}: {error.errors()[0]['msg']}"
    return ""


def main() -> int:
    """Print the faults as a JSON list."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    flows = {name: FlowSpec.from_document(flow) for name, flow in asked["flows"].items()}
    with tempfile.TemporaryDirectory(prefix="mlops-flows-") as home:
        os.environ["PREFECT_HOME"] = home  # importing Prefect makes a folder, by default in the person's own
        found = list(faults(asked["jobs"], flows))
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
