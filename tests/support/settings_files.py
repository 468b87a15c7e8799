"""The files of variables that `mlops up` would have written: for an environment of which a test has only a database."""

from pathlib import Path

import psycopg
from pydantic import SecretStr

from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from tests.support.environment import MASTER_KEY, NOBODY, Environment


def write_settings(
    environment: Environment,
    folder: Path,
    root: Path,
    *,
    app: str,
    mlflow: str = NOBODY,
    prefect: str = NOBODY,
    router: str = NOBODY,
) -> None:
    """Write variables of the environment and its operator into `folder`, that of the environment."""
    (folder / "env").mkdir(parents=True, exist_ok=True)
    info = psycopg.conninfo.conninfo_to_dict(environment.conninfo().get_secret_value())
    source = SecretStr("postgresql://nobody@127.0.0.1:1/source")
    EnvironmentSettings(
        environment="local",
        kind="local",
        app=app,
        project_root=root,
        mlflow_tracking_uri=mlflow,
        prefect_api_url=f"{prefect}/api",
        database_host=str(info["host"]),
        database_port=int(str(info["port"])),
        database_name=str(info["dbname"]),
        source_url=source,
        router_url=router,
        model_cache=root,
    ).write(folder / "env" / "environment.env")
    OperatorSettings(
        operator_url=environment.conninfo(), master_key=MASTER_KEY, source_owner_url=source
    ).write(folder / "env" / "operator.env")
