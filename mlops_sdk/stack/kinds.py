"""What a person writes into the stack config of an environment on a cluster, kind by kind. Pure.

One class a kind, with a field a key; the JSON Schema of `stacks/Pulumi.ENV.yaml` is made of these classes. What
costs money or keeps data has no default. Must not read a file or a stack: the program and the commands do.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

RELEASE_KEYS = ("releases", "live", "basis")
SECRET_KEYS = ("masterKey", "postgresUrl", "alertWebhook")

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TAGGED = re.compile(r"[a-z0-9][^\s@]*(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})")


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"{text!r} is no quantity such as 500m, 2 or 10Gi")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a-z, 0-9 and -, at most 63 characters")
    return text


def _image(text: str) -> str:
    if not _TAGGED.fullmatch(text) or text.endswith(":latest"):
        raise ValueError(f"{text!r} names no one image: write REPOSITORY:COMMIT or REPOSITORY@sha256:…")
    return text


Quantity = Annotated[str, AfterValidator(_quantity), Field(json_schema_extra={"pattern": _QUANTITY.pattern})]
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"})]
Image = Annotated[str, AfterValidator(_image)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class _Keys(BaseModel):
    """Keys in camelCase, as Pulumi's own; a scalar may come as text, as Pulumi gives it to a program."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
        use_attribute_docstrings=True,
    )


class Images(_Keys):
    """The environment's images, each by a tag that is a commit or by its digest; never `latest`."""

    job: Image
    """Target `job` of the Dockerfile: platform servers, worker, agent, and the Jobs of a flow run or a cut."""
    service: Image
    """Target `service`: the model service of a release whose lock names no image of its own."""
    invoker: Image | None = None
    """Target `invoker`; needed by a release with jobs whose images are in no `image_repository`."""
    postgres: Image | None = None
    """An image laid out as Docker's `postgres`, with pgvector. Absent: the server that the job image brings."""


class Quota(_Keys):
    """The most that the namespace may ask for: requests of CPU and memory, storage of claims, pods."""

    cpu: Quantity
    memory: Quantity
    storage: Quantity
    pods: int = Field(ge=1)


class ServiceSize(_Keys):
    """The model service of each release. `maxReplicas` equal to `replicas`: no autoscaler."""

    replicas: int = Field(ge=1)
    max_replicas: int = Field(ge=1)
    cpu: Quantity
    memory: Quantity
    limit_memory: Quantity | None = None
    """The limit of memory; absent: what is asked for."""


class Backup(_Keys):
    """Dumps of the environment's own Postgres: cron schedule in UTC, days that a dump is kept, size of their claim."""

    schedule: str
    keep_days: int = Field(ge=1)
    size: Quantity


class ClusterConfig(_Keys):
    """What every environment on a cluster has."""

    namespace: Name | None = None
    """The environment's namespace; absent: APP-ENV. It is made, and must not exist before."""
    images: Images
    image_pull_secret: Name | None = None
    """A Secret of the namespace with the registry's credentials; absent: the nodes may pull."""
    quota: Quota
    service: ServiceSize
    gateway_class: str
    """The GatewayClass whose controller routes the requests."""
    gateway_port: int = Field(default=80, ge=1, le=65535)
    """The port of the Gateway's listener."""
    gateway_namespace: Name | None = None
    """Where the controller's pods run; absent: any pod may ask a service's port."""
    host: str | None = None
    """The host name of the route; absent: every host."""
    storage_class: Name | None = None
    """StorageClass of all claims; absent: the cluster's default."""
    artifact_size: Quantity = "10Gi"
    """The claim of MLflow's artifacts, where they are in no bucket."""
    mlflow_url: str | None = None
    """An MLflow that somebody else runs, without credentials. Absent: the environment's own."""
    prefect_url: str | None = None
    """A Prefect server that somebody else runs. Absent: the environment's own."""
    prefect_on_postgres: bool = False
    """Whether Prefect's own server keeps its data in Postgres (its image must have pg_trgm) or in a volume."""


class KubernetesConfig(ClusterConfig):
    """An environment in a namespace of a given cluster."""

    kind: Literal["kubernetes"]
    kubeconfig: str | None = None
    """Path of the kubeconfig; absent: KUBECONFIG, else ~/.kube/config."""
    context: str
    """The context of the kubeconfig: the cluster is never the one that happens to be chosen."""
    database_size: Quantity | None = None
    """The claim of the environment's own Postgres; needed unless `postgresUrl` is given."""
    backup: Backup | None = None
    """Backups of the environment's own Postgres; needed unless `postgresUrl` is given."""
    messages: Literal["pgmq"] = "pgmq"
    """Where messages are queued: in the environment's Postgres."""


class GcpConfig(ClusterConfig):
    """An environment in a Google Cloud project of its own."""

    kind: Literal["gcp"]
    project: Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
    """The project's id."""
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    """Where all of it is, e.g. europe-west1."""
    gateway_class: str = "gke-l7-regional-external-managed"
    """GKE's own controller unless told otherwise."""
    messages: Literal["pubsub", "pgmq"]
    """Where messages are queued: Pub/Sub topics, or the environment's Postgres."""
    database_tier: str
    """Machine type of Cloud SQL, e.g. db-custom-2-8192."""
    database_disk_gb: int = Field(ge=10)
    """Size of its disk at first, in GB; it grows by itself."""
    database_available: Literal["zonal", "regional"]
    """One zone, or a stand-by in a second one."""
    backups_kept: int = Field(ge=1)
    """Daily backups that are kept."""
    deletion_protection: bool
    """Whether Google refuses to delete cluster, database and buckets."""
    alert_email: Email
    """Who is told by alerts."""
    invoker_on: Literal["cluster", "cloud-run"] = "cluster"
    """Where the invokers of releases run."""
    operators: tuple[str, ...] = ()
    """Members (user:…, group:…) who may forward ports and read logs of the cluster."""
    authorized_networks: tuple[str, ...] = ()
    """CIDR ranges from which the cluster's API server may be reached; none: only through Google's own access."""


class LocalPorts(_Keys):
    """TCP ports on 127.0.0.1; one that is missing is chosen by `mlops up`."""

    postgres: int | None = Field(default=None, ge=1, le=65535)
    mlflow: int | None = Field(default=None, ge=1, le=65535)
    prefect: int | None = Field(default=None, ge=1, le=65535)
    router: int | None = Field(default=None, ge=1, le=65535)
    agent: int | None = Field(default=None, ge=1, le=65535)


class LocalConfig(_Keys):
    """An environment of supervised processes on one machine."""

    kind: Literal["local"]
    ports: LocalPorts = LocalPorts()
    mlflow_url: str | None = None
    """An MLflow that somebody else runs, without credentials."""
    prefect_url: str | None = None
    """A Prefect server that somebody else runs."""


KINDS: dict[str, type[_Keys]] = {"local": LocalConfig, "kubernetes": KubernetesConfig, "gcp": GcpConfig}
"""Each kind's keys, but for those of every kind: secrets and the release part."""


def names(kind: type[_Keys]) -> tuple[str, ...]:
    """The keys of a kind, as they are written after `mlops-sdk:`."""
    return tuple(str(field.alias) for field in kind.model_fields.values())


def faults(error: ValidationError) -> list[tuple[str, str]]:
    """Key and fault, a pair each, of an error of one of these classes; no value is quoted."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return [(".".join(str(part) for part in one["loc"]) or "kind", str(one["msg"])) for one in details]
