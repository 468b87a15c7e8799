"""`python -m mlops_sdk.serving.run`: the service of the release whose variables the process has.

Imports MLOPS_SERVICE from the working directory, which is the release's checkout, and serves it on
MLOPS_SERVICE_HOST:MLOPS_SERVICE_PORT. SIGTERM ends it gracefully: requests in flight are answered.
"""

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.runtime.settings import ServiceSettings

GRACEFUL_S = 10

# Libraries of numbers start a thread and take buffers for each core when they are imported. A service's
# batches are small and its cores are shared with other services, so one is right unless told otherwise.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def import_service(entry: str | None) -> Callable[[ServiceSettings], ASGIApp]:
    """The application factory that `package.module:attribute` names. Raises InputError if there is none."""
    module_name, _, attribute = (entry or "").partition(":")
    if not module_name or not attribute:
        raise InputError("no service `package.module:attribute` is named", where="MLOPS_SERVICE")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{entry} cannot be imported: {error}", where="MLOPS_SERVICE") from error
    if not callable(factory):
        raise InputError(f"{entry} is not callable", where="MLOPS_SERVICE")
    return cast("Callable[[ServiceSettings], ASGIApp]", factory)


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises InputError if the service cannot be imported."""
    import uvicorn

    from mlops_sdk.serving.hot.protocol import HotProtocol

    application = import_service(settings.service)(settings)
    config = uvicorn.Config(
        application,
        http=HotProtocol if hasattr(application, "hot_path") else "auto",
        proxy_headers=False,
        host=settings.service_host or "127.0.0.1",
        port=settings.service_port,
        access_log=False,
        server_header=False,
        log_level="info",
        timeout_graceful_shutdown=GRACEFUL_S,
    )
    uvicorn.Server(config).run()


def main() -> int:
    """Serve the release of the process environment; answers the exit code."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        serve(ServiceSettings.parse())
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
