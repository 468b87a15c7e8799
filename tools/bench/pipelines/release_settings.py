"""What a release's processes get as their environment in these benches: settings, and the variables made of them."""

import os
from typing import Any

from pydantic import SecretStr

from mlops_sdk.release.binding import Binding
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ServiceSettings
from tools.bench.page import ROOT
from tools.bench.state.server import Server

_NOBODY = "http://127.0.0.1:1"


def settings_of(server: Server, database: str, binding: Binding, **given: Any) -> ServiceSettings:
    """Those of a release that is bound in a database of the bench; `given` as in `settings_with`."""
    own = {
        "app": database,
        "database_port": server.port,
        "database_name": database,
        "release": binding.release,
        "release_digest": binding.digest,
        "database_user": binding.role,
        "database_password": derive(server.master_key, binding.role),
        "pg_schema": binding.pg_schema,
    }
    return settings_with(**{**own, **given})


def settings_with(**given: Any) -> ServiceSettings:
    """Those of a release without models and without any server, but for what is `given`."""
    values = {
        "environment": "local",
        "kind": "local",
        "app": "bench",
        "project_root": ROOT,
        "mlflow_tracking_uri": _NOBODY,
        "prefect_api_url": f"{_NOBODY}/api",
        "database_host": "127.0.0.1",
        "database_port": 1,
        "database_name": "bench",
        "source_url": SecretStr("unused"),
        "router_url": _NOBODY,
        "model_cache": ROOT,
        "release": "v0.0.1",
        "release_digest": "sha256:" + "0" * 64,
        "commit": "0" * 40,
        "database_user": "bench",
        "database_password": SecretStr("unused"),
        "pg_schema": "bench",
        "service_port": 4000,
        "models": {},
        "parameters": {},
    }
    return ServiceSettings(**{**values, **given})


def process_environment(settings: ServiceSettings) -> dict[str, str]:
    """The whole environment of a process of the release."""
    own = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.variables().items()
    }
    return {**os.environ, **own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
