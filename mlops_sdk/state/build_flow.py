"""The Prefect flow that builds one derived table, in the release's checkout and dependency environment.

It reads nothing but its process environment, and tells Prefect which release it runs: by a label of its flow run,
which `mlops status` compares with what the run was started for. Importing it imports Prefect.
"""

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from mlops_sdk.runtime.flow_marks import REPORTED_LABEL
from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.state.fill import fill


@flow(name="build_table", flow_run_name="build_table", retries=0)
def build_table() -> int:
    """Build the table that MLOPS_BUILD orders; the number of rows."""
    settings = BuildSettings.parse()
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {REPORTED_LABEL: settings.release_digest})
    logger = get_run_logger()
    order = settings.build
    logger.info("table %s for %s, attempt %d", order.table, settings.release, order.attempt)
    rows = fill(settings, report=lambda progress: logger.info("%s: %s", order.table, progress))
    logger.info("table %s is loaded: %s rows, with keys and indexes", order.table, f"{rows:,}")
    return rows
