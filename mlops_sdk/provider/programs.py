"""The platform's programs, for the program of an environment; commands come from `platform`. Pure."""

from mlops_sdk.platform.postgres import PASSWORD_KEY as POSTGRES_PASSWORD_KEY
from mlops_sdk.platform.postgres import SUPERUSER
from mlops_sdk.platform.programs import (
    Place,
    agent,
    invoker,
    invoker_name,
    job_consumer,
    jobs_name,
    mlflow,
    postgres,
    prefect_server,
    prefect_worker,
    router,
    service,
    service_name,
)

__all__ = [
    "POSTGRES_PASSWORD_KEY",
    "SUPERUSER",
    "Place",
    "agent",
    "invoker",
    "invoker_name",
    "job_consumer",
    "jobs_name",
    "mlflow",
    "postgres",
    "prefect_server",
    "prefect_worker",
    "router",
    "service",
    "service_name",
]
