"""Names and places of an environment's resources, as functions of its facts. Pure.

Everything of a release is named by its digest, so that no release ever takes over a resource of another.
"""

import base64
import hashlib
from pathlib import Path

from mlops_sdk.provider import programs
from mlops_sdk.provider.programs import Place
from mlops_sdk.release.binding import invoker_port
from mlops_sdk.release.digest import short
from mlops_sdk.release.project import Project
from mlops_sdk.runtime.queues import EVENTS, TRAININGS
from mlops_sdk.stack.config import ReleaseSection

LOOPBACK = "127.0.0.1"
WORK_POOL = "mlops"

# On a cluster: names of Services, which are host names too, and their ports.
POSTGRES, POSTGRES_PORT = "postgres", 5432
RELAY = "relay"
MLFLOW, MLFLOW_PORT = "mlflow", 5000
PREFECT, PREFECT_PORT = "prefect", 4200
PREFECT_WORKER = "prefect-worker"
FLOW_RUN = "flow-run"
AGENT, AGENT_PORT = "agent", 8080
INVOKER, INVOKER_PORT = "invoker", 8080
GATEWAY, ROUTE, LISTENER = "gateway", "route", "http"
SERVICE_PORT = 8000

QUEUES = (EVENTS, TRAININGS)
"""The queues of an environment; each has one of dead letters, `QUEUE_dead`."""

PROXIES = "10.10.16.0/23"
"""Range of the Gateway's proxies in the network of an environment on Google Cloud."""

# In an image: the project's code, and the two folders that a pod can write to.
CODE = "/app"
SCRATCH = "/tmp"  # noqa: S108 - a volume of the pod's own
DATA = "/var/lib/mlops"


def namespace(app: str, environment: str) -> str:
    """The namespace of an environment that is given none."""
    return f"{app.replace('_', '-')}-{environment}"[:63].rstrip("-")


def work_pool(app: str, environment: str) -> str:
    """Name of the environment's work pool on a Prefect server that others use too."""
    return f"{app}-{environment}"


def http(port: int, path: str = "") -> str:
    """Address of a server on this machine."""
    return f"http://{LOOPBACK}:{port}{path}"


def postgres(role: str, password: str, host: str, port: int, database: str) -> str:
    """Address of a database, with the password: base64url and names of ours need no escape."""
    shown = f"[{host}]" if ":" in host else host
    return f"postgresql://{role}:{password}@{shown}:{port}/{database}"


def fernet_key(master_key: str) -> str:
    """MLflow's key for webhook secrets, of the master key: 32 bytes in base64url, as Fernet wants it."""
    digest = hashlib.sha256(b"mlflow-webhooks:" + master_key.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def place(project: Project, environment: str) -> Place:
    """Where the platform's programs run.

    The Python is named by its dependency environment, not by the link to it: programs start anew when the
    platform's packages change.
    """
    python = (project.root / ".venv").resolve() / "bin" / "python"
    return Place(project.root, project.environment_folder(environment), python)


def release_name(section: ReleaseSection) -> str:
    """Resource name of a release's component."""
    return f"release-{short(section.digest)}"


def image(repository: str, target: str, commit: str, digest: str | None = None) -> str:
    """The image that was built of a commit for a target of the Dockerfile, by its digest where it is known."""
    name = f"{repository.rstrip('/')}/{target}"
    return f"{name}@{digest}" if digest else f"{name}:{commit}"


def layer_name(section: ReleaseSection) -> str:
    """Name of the release layer of variables: of its `.env` file, its ConfigMap and its Secret."""
    return f"release-{short(section.digest)}"


def state_name(section: ReleaseSection) -> str:
    """Name of the Job that cuts the release's state."""
    return f"state-{short(section.digest)}"


def service_name(section: ReleaseSection) -> str:
    """Name of the supervised program of a release's service."""
    return programs.service_name(section.digest)


def jobs_name(section: ReleaseSection) -> str:
    """Name of the supervised program of a release's job consumer."""
    return programs.jobs_name(section.digest)


def invoker_name(section: ReleaseSection) -> str:
    """Name of the supervised program of a release's invoker."""
    return programs.invoker_name(section.digest)


def invoker_url(section: ReleaseSection) -> str | None:
    """Address of a release's invoker on this machine; None for a release without jobs."""
    return http(invoker_port(section.service_port)) if section.jobs is not None else None


def flow_name(section: ReleaseSection, flow: str) -> str:
    """Resource name of a release's flow."""
    return f"{release_name(section)}-flow-{flow}"


def flow_deployment(pool: str | None, section: ReleaseSection) -> str:
    """Name of a flow's deployment in Prefect; on a server that others use too, it has the pool's name in it."""
    return f"{f'{pool}-' if pool else ''}{section.release}"


def env_file(folder: Path, name: str) -> Path:
    """A `.env` file of the environment."""
    return folder / "env" / f"{name}.env"


def checkout(project: Project, section: ReleaseSection) -> Path:
    """The work tree of a release's commit."""
    return project.root / ".mlops" / "checkouts" / section.commit[:12]


def python(project: Project, section: ReleaseSection) -> Path:
    """The Python of a release's dependency environment."""
    return project.root / section.environment / "bin" / "python"


def account_id(app: str, environment: str, part: str) -> str:
    """Id of a part's service account of Google Cloud: at most 30 characters of a-z, 0-9 and -."""
    whole = f"{app.replace('_', '-')}-{environment}-{part}"
    if len(whole) <= 30:
        return whole
    mark = hashlib.sha256(whole.encode()).hexdigest()[:6]
    return f"{whole[: 30 - len(part) - 8].rstrip('-')}-{mark}-{part}"
