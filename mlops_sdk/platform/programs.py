"""The programs of an environment of kind local, as data. Pure.

Secrets reach a program by env files only; each function says which keys its files hold. Must not
write a file or start anything: `supervisor` does.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.platform.postgres import server_command
from mlops_sdk.platform.program import Program, Readiness
from mlops_sdk.release.digest import short
from mlops_sdk.traffic.caddy import HEALTH_PATH
from mlops_sdk.traffic.router_files import CONFIG_FILE

POSTGRES = "postgres"
MLFLOW = "mlflow"
PREFECT_SERVER = "prefect-server"
PREFECT_WORKER = "prefect-worker"
ROUTER = "router"
AGENT = "agent"


def service_name(digest: str) -> str:
    """Name of the program of the service of the release with that digest."""
    return f"service-{short(digest)}"


def jobs_name(digest: str) -> str:
    """Name of the program of the job consumer of the release with that digest."""
    return f"jobs-{short(digest)}"


def invoker_name(digest: str) -> str:
    """Name of the program of the invoker of the release with that digest."""
    return f"invoker-{short(digest)}"


def names_of_release(digest: str) -> tuple[str, ...]:
    """Names of all programs that the release with that digest can have."""
    return service_name(digest), jobs_name(digest), invoker_name(digest)


@dataclass(frozen=True)
class Place:
    """Where programs run: the platform's own code, the environment's folder, the Python with its packages."""

    project_root: Path
    environment_folder: Path
    python: Path = Path(sys.executable)

    def folder(self, name: str) -> Path:
        """A folder of the environment, e.g. `postgres`."""
        return self.environment_folder / name

    def module(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Command that runs a module, without the working folder on its path."""
        return (str(self.python), "-P", "-m", name, *arguments)

    def variables(self, **values: str) -> Mapping[str, str]:
        """`values`, and what lets the platform's own modules be imported."""
        return {"PYTHONPATH": str(self.project_root), "PYTHONUNBUFFERED": "1", **values}


def postgres(place: Place, *, port: int, env_file: Path, major: int = 18) -> Program:
    """The database server. `env_file` holds MLOPS_POSTGRES_PASSWORD, the superuser's password."""
    return Program(
        name=POSTGRES,
        command=server_command(place.folder("postgres"), port, major=major, python=place.python),
        directory=place.environment_folder,
        env_files=(env_file,),
        environment=place.variables(),
        stop_signal="INT",
        stop_timeout_s=30.0,
        readiness=Readiness.postgres(port),
    )


def mlflow(place: Place, *, port: int, env_file: Path) -> Program:
    """The tracking server and registry. `env_file` holds MLFLOW_BACKEND_STORE_URI (with a password)
    and MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY."""
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts")
    artifacts = ("--artifacts-destination", str(place.folder("mlflow") / "artifacts"))
    return Program(
        name=MLFLOW,
        command=place.module("mlflow", "server", *options, *artifacts),
        directory=place.environment_folder,
        env_files=(env_file,),
        environment=place.variables(
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
            MLFLOW_DISABLE_TELEMETRY="true",
            DO_NOT_TRACK="true",
            MLFLOW_WEBHOOK_ALLOWED_SCHEMES="http,https",
            MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS="true",
        ),
        readiness=Readiness.http(port, "/health"),
        start_timeout_s=120.0,
    )


def prefect_server(place: Place, *, port: int) -> Program:
    """The orchestrator's API and page, on SQLite: Prefect on Postgres needs an extension that the
    embedded server has not."""
    home = place.folder("prefect")
    return Program(
        name=PREFECT_SERVER,
        command=place.module("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)),
        directory=place.environment_folder,
        environment=place.variables(
            PREFECT_HOME=str(home),
            PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_LOGGING_SERVER_LEVEL="WARNING",
            DO_NOT_TRACK="1",
        ),
        readiness=Readiness.http(port, "/api/health"),
        start_timeout_s=120.0,
    )


def prefect_worker(place: Place, *, api_url: str, pool: str) -> Program:
    """The process that starts flow runs of the work pool `pool`, looking for them every second.

    What a run's own process gets is the pool's job template's to say.
    """
    return Program(
        name=PREFECT_WORKER,
        command=place.module("prefect", "worker", "start", "--pool", pool, "--type", "process"),
        directory=place.environment_folder,
        environment=place.variables(
            PREFECT_HOME=str(place.folder("prefect")),
            # Prefect's runner keeps a folder of one fixed name among the temporary files: the first person of a
            # machine to run a flow would own it, and nobody else could.
            TMPDIR=str(place.folder("prefect")),
            PREFECT_API_URL=api_url,
            PREFECT_WORKER_QUERY_SECONDS="1",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            DO_NOT_TRACK="1",
        ),
        stop_timeout_s=20.0,
        start_timeout_s=60.0,
    )


def agent(place: Place, *, environment: str, port: int) -> Program:
    """The background duties and the web page. It reads the environment's files itself, as a deployer does."""
    return Program(
        name=AGENT,
        command=place.module("mlops_sdk.cli", "agent", "serve", environment, "--port", str(port)),
        directory=place.project_root,
        environment=place.variables(),
        readiness=Readiness.http(port, "/livez"),
    )


def router(place: Place, *, port: int) -> Program:
    """Caddy in the folder that `traffic.router_files.prepare_router` made for `port`."""
    folder = place.folder("router")
    return Program(
        name=ROUTER,
        command=(str(place.python.parent / "caddy"), "run", "--config", CONFIG_FILE),
        directory=folder,
        environment={"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        readiness=Readiness.http(port, HEALTH_PATH),
    )


def service(*, name: str, python: Path, checkout: Path, port: int, env_files: tuple[Path, ...]) -> Program:
    """The service of a release: code of `checkout`, packages of `python`, settings of `env_files`.

    The files are those of the environment and of the release, in this order.
    """
    return Program(
        name=name,
        command=(str(python), "-P", "-m", "mlops_sdk.serving.run"),
        directory=checkout,
        env_files=env_files,
        environment={"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"},
        stop_timeout_s=30.0,
        readiness=Readiness.http(port, "/readyz"),
        start_timeout_s=90.0,
    )


def job_consumer(
    *,
    name: str,
    python: Path,
    checkout: Path,
    jobs: str,
    env_files: tuple[Path, ...],
    stop_timeout_s: float = 30.0,
) -> Program:
    """What runs the jobs of a release, `jobs` being `package.module:JOBS`; the rest as in `service`.

    It follows the pointer by itself. Asked to stop it ends after the job in hand; one that takes longer than
    `stop_timeout_s` is killed, and the job is done again by the next consumer.
    """
    return Program(
        name=name,
        command=(str(python), "-P", "-m", "mlops_sdk.workload.consume", jobs),
        directory=checkout,
        env_files=env_files,
        environment={"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"},
        stop_timeout_s=stop_timeout_s,
    )


def invoker(
    *, name: str, python: Path, checkout: Path, jobs: str, port: int, env_files: tuple[Path, ...]
) -> Program:
    """What takes requests for the jobs of a release over HTTP; the rest as in `job_consumer`.

    A process of its own and not a thread of the consumer's (some 50 MB more, only where a release has jobs): the
    consumer ends after the job in hand, which can take an hour, and is killed with jobs that go wrong. Who asks
    is answered all the while. Its token comes in the files, never as an argument.
    """
    return Program(
        name=name,
        command=(str(python), "-P", "-m", "mlops_sdk.workload.invoke", jobs, "--port", str(port)),
        directory=checkout,
        env_files=env_files,
        environment={"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"},
        readiness=Readiness.http(port, "/healthcheck"),
    )
