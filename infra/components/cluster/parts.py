"""What the parts of the platform are, as containers: commands, sizes, variables, probes. Pure.

Secrets reach a program by `envFrom` of a Secret only, never by an argument.
"""

from typing import Any

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.manifests import Container, Size

ENVIRONMENT, OPERATOR, ADMINISTRATOR = "env", "operator", "administrator"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - of its pod, which a network policy guards
HEALTH_PORT = 8080
HOSTS = "localhost:*,127.0.0.1:*,10.*,172.*,192.168.*"
"""Who MLflow takes itself for, beside its Service's name: a forwarded port, and the pod's address that probes ask."""

QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def relay(settings: ClusterSettings[Any]) -> Container:
    """The relay by which a forwarded port reaches Postgres."""
    listen = ("--host", EVERY_ADDRESS, "--port", str(naming.POSTGRES_PORT))
    target = f"{settings.database_host}:{settings.database_port}"
    return Container(
        name=naming.RELAY,
        image=settings.image("job"),
        command=manifests.module("mlops_sdk.platform.relay", *listen, "--to", target),
        size=Size(cpu="20m", memory="64Mi", limit_memory="128Mi"),
        port=naming.POSTGRES_PORT,
        probes=manifests.tcp_probes(naming.POSTGRES_PORT),
    )


def mlflow(settings: ClusterSettings[Any], artifacts: str) -> Container:
    """Tracking server and registry; `artifacts` is a folder of its volume or a bucket."""
    listen = ("--host", EVERY_ADDRESS, "--port", str(naming.MLFLOW_PORT), "--workers", "1")
    own = artifacts.startswith(naming.DATA)
    return Container(
        name=naming.MLFLOW,
        image=settings.image("job"),
        command=manifests.module(
            "mlflow", "server", *listen, "--serve-artifacts", "--artifacts-destination", artifacts
        ),
        size=Size(cpu="100m", memory="768Mi", limit_memory="1536Mi"),
        port=naming.MLFLOW_PORT,
        secrets=(naming.MLFLOW,),
        environment={
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"{naming.MLFLOW},{naming.MLFLOW}:*,{naming.MLFLOW}.*,{HOSTS}",
            # Its webhooks go to the agent of this namespace.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        },
        volumes={"data": naming.DATA} if own else {},
        claims={"data": f"{naming.MLFLOW}-artifacts"} if own else {},
        probes=manifests.http_probes("/health", naming.MLFLOW_PORT, start_s=240),
    )


def prefect(settings: ClusterSettings[Any]) -> Container:
    """The orchestrator's API and page: on Postgres by the address in its Secret, else on SQLite in its volume."""
    listen = ("--host", EVERY_ADDRESS, "--port", str(naming.PREFECT_PORT))
    on_postgres = settings.config.prefect_on_postgres
    database = f"sqlite+aiosqlite:///{naming.DATA}/prefect.db"
    return Container(
        name=naming.PREFECT,
        image=settings.image("job"),
        command=manifests.module("prefect", "server", "start", *listen),
        size=Size(cpu="100m", memory="512Mi", limit_memory="1Gi"),
        port=naming.PREFECT_PORT,
        secrets=(naming.PREFECT,) if on_postgres else (),
        environment={
            **QUIET,
            "PREFECT_HOME": f"{naming.SCRATCH}/prefect",
            "PREFECT_API_URL": f"http://127.0.0.1:{naming.PREFECT_PORT}/api",
            "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
            **({} if on_postgres else {"PREFECT_API_DATABASE_CONNECTION_URL": database}),
        },
        volumes={} if on_postgres else {"data": naming.DATA},
        claims={} if on_postgres else {"data": naming.PREFECT},
        probes=manifests.http_probes("/api/health", naming.PREFECT_PORT, start_s=240),
    )


def worker(settings: ClusterSettings[Any]) -> Container:
    """What starts a Kubernetes Job for each flow run of the environment's work pool."""
    start = ("worker", "start", "--pool", settings.work_pool, "--type", "kubernetes", "--with-healthcheck")
    return Container(
        name=naming.PREFECT_WORKER,
        image=settings.image("job"),
        command=manifests.module("prefect", *start),
        size=Size(cpu="50m", memory="384Mi", limit_memory="768Mi"),
        environment={
            **QUIET,
            "PREFECT_HOME": f"{naming.SCRATCH}/prefect",
            "PREFECT_API_URL": settings.prefect_api_url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_WORKER_WEBSERVER_HOST": EVERY_ADDRESS,
            "PREFECT_WORKER_WEBSERVER_PORT": str(HEALTH_PORT),
        },
        probes=manifests.http_probes("/health", HEALTH_PORT, start_s=120),
    )


def agent(settings: ClusterSettings[Any]) -> Container:
    """The background duties and the page, with what a deployer may."""
    options = ("--host", EVERY_ADDRESS, "--port", str(naming.AGENT_PORT))
    return Container(
        name=naming.AGENT,
        image=settings.image("job"),
        command=manifests.module("mlops_sdk.cli", "agent", "serve", settings.environment, *options),
        size=Size(cpu="50m", memory="384Mi", limit_memory="768Mi"),
        port=naming.AGENT_PORT,
        layers=(ENVIRONMENT,),
        secrets=(OPERATOR,),
        probes=manifests.http_probes("/livez", naming.AGENT_PORT, start_s=120),
    )


def database_job(settings: ClusterSettings[Any], *, administrator: bool) -> Container:
    """What makes databases, roles, control tables and the ledger; `administrator`: whether there is such a Secret."""
    return Container(
        name="database",
        image=settings.image("job"),
        command=manifests.module("mlops_sdk.provider.job", "database"),
        size=Size(cpu="50m", memory="256Mi"),
        layers=(ENVIRONMENT,),
        secrets=(OPERATOR, ADMINISTRATOR) if administrator else (OPERATOR,),
    )


def work_pool_job(settings: ClusterSettings[Any]) -> Container:
    """What makes the work pool, by the template in the ConfigMap `work-pool`."""
    folder = "/etc/mlops"
    return Container(
        name="work-pool",
        image=settings.image("job"),
        command=manifests.module("mlops_sdk.provider.job", "work-pool", f"{folder}/template.json"),
        size=Size(cpu="50m", memory="256Mi"),
        layers=(ENVIRONMENT,),
        files={"work-pool": folder},
    )
