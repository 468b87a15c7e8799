"""A flow as thin as a release's flow is: it asks for dates."""

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.days import last_days
from mlops_sdk.workload.flow_run import say_release
from mlops_sdk.workload.orchestrator import orchestrator


@flow(name="daily")
def daily(days: int = 1) -> int:
    """The last `days` days; how many are confirmed."""
    settings = ServiceSettings.parse()
    say_release(settings)
    with orchestrator(settings, report=get_run_logger().info) as orchestra:
        return len(orchestra.run(None, last_days(days)))
