"""What `mlops serve` does: from what a person asked for to a running server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from mlops_sdk.serving.access import model_reference
from mlops_sdk.serving.addresses import addresses
from mlops_sdk.serving.serve import Listening, serve, shared_folder, token_of
from mlops_sdk.serving.server_settings import LOG_VARIABLE, TOKEN_VARIABLE, ServerSettings


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


def serve_model(wanted: Wanted, *, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Serve until stopped. Raises what `addresses` and `serve` raise."""
    model_reference(wanted.model)
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
        )
        serve(settings, Listening(wanted.host, wanted.port, wanted.workers), report=report)
