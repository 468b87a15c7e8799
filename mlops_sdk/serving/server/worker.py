"""The application of one worker process: uvicorn imports `application` and calls it.

What concerns the process as a whole is set here: its log, and what could hold up the event loop.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter

from mlops_sdk.serving.server.application import Application, create_model_server
from mlops_sdk.serving.server.model_server import ModelServer
from mlops_sdk.serving.server.settings import ServerSettings
from mlops_sdk.serving.template.extension import TemplateExtension
from mlops_sdk.serving.template.settings import TemplateSettings


def application() -> Application:
    """The application that the settings in the environment describe; called in the worker's event loop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.get_running_loop()
    settings = ServerSettings.of_worker()
    document = {"folder": settings.folder / "template", **(settings.template or {})}
    template = TemplateExtension(TemplateSettings.from_environment(document))
    return create_model_server(settings, [template, LongLived()])


class LongLived:
    """An `Extension`, the last one: what was imported and loaded before it lives as long as the process.

    A full collection of garbage would go through all of it, on the event loop, again and again.
    """

    def routes(self, server: ModelServer) -> APIRouter:
        """None."""
        del server
        return APIRouter()

    @asynccontextmanager
    async def running(self, server: ModelServer) -> AsyncIterator[None]:
        """Take what there is out of the collector's sight."""
        del server
        gc.collect()
        gc.freeze()
        yield
