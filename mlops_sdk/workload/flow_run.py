"""What a flow's process tells Prefect of itself. Importing it is light: it imports Prefect when it is called."""

from mlops_sdk.runtime.flow_marks import REPORTED_LABEL
from mlops_sdk.runtime.settings import ServiceSettings


def say_release(settings: ServiceSettings) -> None:
    """Label the flow run with the release whose code it runs: `mlops status` compares it with the one asked for.

    Outside of a flow run it does nothing.
    """
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {REPORTED_LABEL: settings.release_digest})
