"""Train the demo's models where flows run: in the environment's Prefect worker.

`python -m tools.demo.training ENV` does it alone.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.apply.building import job_variables
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.environment.flow_runs import FlowJob, Prefect
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.traffic.schedules import WORK_POOL

FLOW = "pipelines/recommender/flow.py:train_models"
TIMEOUT_S = 300.0


def train_in_worker(root: Path, environment: str, log: Callable[[str], None]) -> None:
    """Run the training flow of this checkout; `log` gets each line that it logs. Raises MlopsError.

    A second run finds every version registered and trains nothing.
    """
    with open_session(load_project(root), environment) as session:
        code = ReleaseCode(checkout=root, python=root / ".venv" / "bin" / "python")
        job = FlowJob(
            flow="train-recommender",
            deployment="demo",
            checkout=root,
            entrypoint=FLOW,
            work_pool=session.settings.work_pool or WORK_POOL,
            job_variables=job_variables(code, "environment"),
        )
        with Prefect(session.settings.prefect_api_url) as prefect:
            prefect.run(job, timeout_s=TIMEOUT_S, name="demo: train", log=log)


def main() -> None:
    """Train for the environment that the command line names and print what the flow logs."""
    train_in_worker(Path(__file__).resolve().parent.parent.parent, sys.argv[1], print)


if __name__ == "__main__":
    main()
