"""The application of one worker process: uvicorn imports `application` and calls it."""

import asyncio
import logging

from mlops_sdk.serving.server.application import Application, create_model_server
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
    return create_model_server(settings, [TemplateExtension(TemplateSettings.from_environment(document))])
