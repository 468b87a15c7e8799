"""`python -P -m mlops_sdk.workload.invoke package.module:JOBS [--host HOST] [--port PORT]`: the invoker's process.

It has the variables of the release whose jobs it takes requests for, and MLOPS_INVOKER_TOKEN.
"""

import argparse
import logging
import os
import sys

from pydantic import SecretStr

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.open import open_transport
from mlops_sdk.messaging.pointer import is_live
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.consume import load_jobs
from mlops_sdk.workload.invoker import create_invoker
from mlops_sdk.workload.jobs import QUEUE, Jobs
from mlops_sdk.workload.runs import Runs

LOOPBACK = "127.0.0.1"


def serve(settings: ServiceSettings, jobs: Jobs, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises InputError without a token."""
    import uvicorn

    conninfo = settings.database_conninfo(application_name="mlops invoker")
    transport = open_transport(QUEUE, conninfo=conninfo, pubsub_project=settings.pubsub_project)
    application = create_invoker(
        app=settings.app,
        environment=settings.environment,
        jobs=jobs,
        runs=Runs(conninfo, settings.release_digest),
        messenger=Messenger(transport, release=settings.release),
        token=settings.invoker_token or SecretStr(""),
        is_live=lambda: is_live(conninfo, environment=settings.environment, digest=settings.release_digest),
    )
    uvicorn.run(application, host=host, port=port, access_log=False, server_header=False)


def main() -> int:
    """Serve the invoker; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -P -m mlops_sdk.workload.invoke", description=__doc__)
    parser.add_argument("jobs", help="package.module:JOBS")
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8080))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if not 0 < options.port < 65536:
            raise InputError(f"{options.port} is no port", where="--port")
        serve(ServiceSettings.parse(), load_jobs(options.jobs), host=options.host, port=options.port)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
