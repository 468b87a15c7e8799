"""A flow's process: what it tells Prefect of itself, and how it ends when a person started it.

Importing it is light: it imports Prefect when it is called.
"""

import sys
from collections.abc import Callable

from mlops_sdk.errors import MlopsError
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


def by_hand(flow: Callable[[], object]) -> int:
    """Call a flow as a program does: 0, or the exit code of what went wrong, which is told on standard error."""
    try:
        flow()
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0
