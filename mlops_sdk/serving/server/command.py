"""What `mlops serve` does: from what a person asked for to a running server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr, ValidationError

from mlops_sdk.errors import InputError
from mlops_sdk.registry.files import check_driver
from mlops_sdk.serving.drift.training_request import TrainingQueue
from mlops_sdk.serving.server.access import model_reference
from mlops_sdk.serving.server.addresses import addresses
from mlops_sdk.serving.server.serve import Listening, serve, shared_folder, token_of
from mlops_sdk.serving.server.settings import LOG_VARIABLE, TOKEN_VARIABLE, ServerSettings


@dataclass(frozen=True)
class Wanted:
    """The options of `mlops serve`; see its help."""

    model: str
    mlflow_uri: str | None
    environment: str
    host: str
    port: int
    workers: int
    allowed_models: tuple[str, ...]
    key_header: str
    sticky_cookie: bool
    shadow_share: float
    public_schema: bool
    template: Mapping[str, Any] = field(default_factory=dict)


def template_document(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the template API that were given.

    Raises InputError for one that it does not take, and for a store whose driver is not installed.
    """
    from mlops_sdk.serving.template.settings import TemplateSettings

    found = {name: value for name, value in given.items() if value}
    try:
        TemplateSettings.model_validate({"folder": ".", **found})
    except ValidationError as error:
        faults = [f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}" for fault in error.errors()]
        raise InputError("; ".join(faults)) from None
    for uri in (found.get("sample_store"), *found.get("data_roots", ())):
        if uri and "://" in uri:
            check_driver(uri)
    return found


def serve_model(wanted: Wanted, *, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Serve until stopped.

    Raises what `addresses` and `serve` raise, and InputError for a training queue that no variable leads to.
    """
    model_reference(wanted.model)
    if queue := wanted.template.get("training_queue"):
        TrainingQueue.from_environment(queue, environ)
    found = addresses(wanted.mlflow_uri, wanted.environment)
    with shared_folder() as folder:
        token, path = token_of(environ.get(TOKEN_VARIABLE), folder)
        if path is not None:
            report(f"{TOKEN_VARIABLE} is not set: a token was made, it is in {path}")
        log = environ.get(LOG_VARIABLE)
        settings = ServerSettings(
            model=wanted.model,
            mlflow_uri=found.mlflow_uri,
            model_cache=found.model_cache,
            folder=folder,
            app=found.app,
            allowed_models=wanted.allowed_models,
            key_header=wanted.key_header,
            sticky_cookie=wanted.sticky_cookie,
            public_schema=wanted.public_schema,
            shadow_share=wanted.shadow_share,
            admin_token=token,
            log_conninfo=SecretStr(log) if log else None,
            template=template_document(wanted.template),
        )
        serve(settings, Listening(wanted.host, wanted.port, wanted.workers), report=report)
