"""An environment on a cluster, reached from this machine: its variables with addresses that work here.

Variables come from the namespace's ConfigMaps and Secrets by the API server; ports come by forwards. Both are written
into the environment's folder (`env/*.env`, 0600), where everything else looks for them, as on the local kind. Must not
change anything in the cluster.
"""

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlops_sdk.cluster import kubeconfig
from mlops_sdk.cluster.api import ApiServer, Object
from mlops_sdk.cluster.forwarder import Forwards, Target
from mlops_sdk.cluster.kubeconfig import Access
from mlops_sdk.cluster.pods import running_workloads
from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.release.digest import short
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.stack.config import PROJECT
from mlops_sdk.stack.ports import free_ports

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "mlops-sdk"
DIGEST_LABEL = "mlops.dev/digest"
CLUSTER_KINDS = ("kubernetes", "gcp")
SERVICE_PORT = 8000
"""Port of each release's service in its pods and of its Service."""

PLATFORM_PORTS = {"relay": 5432, "mlflow": 5000, "prefect": 4200, "agent": 8080}
"""The platform's Services that people and commands reach, and their ports."""

_HERE = "127.0.0.1"
_NEEDED = ("relay", "mlflow", "prefect")
_POSTGRES_URLS = ("MLOPS_SOURCE_URL", "MLOPS_OPERATOR_URL", "MLOPS_SOURCE_OWNER_URL")


@dataclass(frozen=True)
class Place:
    """Where an environment is: the folder on this machine, the cluster's access and the namespace."""

    environment: str
    root: Path
    folder: Path
    access: Access
    namespace: str


def is_on_cluster(kind: str | None) -> bool:
    """Whether environments of this kind are in a namespace of a cluster."""
    return kind in CLUSTER_KINDS


def service_name(digest: str) -> str:
    """The name of a release's Service and Deployment."""
    return f"service-{short(digest)}"


def namespace_of(values: Mapping[str, object], app: str, environment: str) -> str:
    """The namespace that stack config names, else APP-ENV."""
    return str(values.get(f"{PROJECT}:namespace") or f"{app}-{environment}".replace("_", "-"))


def place_of(values: Mapping[str, object], *, app: str, environment: str, root: Path, folder: Path) -> Place:
    """The place that stack config `values` (the map under `config`) names. Raises as `kubeconfig.load`.

    Raises InputError for a kind that is not on a cluster or without a context.
    """
    if not is_on_cluster(str(values.get(f"{PROJECT}:kind"))):
        raise InputError(
            f"environment {environment} is on no cluster", remedy="its kind is local: it runs here"
        )
    namespace = namespace_of(values, app, environment)
    inside = kubeconfig.in_cluster()
    if inside is not None:
        return Place(environment, root, folder, inside, namespace)
    context = values.get(f"{PROJECT}:context")
    if not context:
        raise InputError(
            f"stack config names no context for {environment}",
            where=f"stacks/Pulumi.{environment}.yaml",
            remedy=f"pulumi config set {PROJECT}:context CONTEXT -s {environment}",
        )
    given = values.get(f"{PROJECT}:kubeconfig")
    path = kubeconfig.find_kubeconfig(root / Path(str(given)).expanduser() if given else None)
    return Place(environment, root, folder, kubeconfig.load(path, str(context)), namespace)


def require_ours(api: ApiServer, environment: str) -> None:
    """Raises NotFoundError where the namespace does not exist, PolicyError where somebody else made it."""
    found = api.namespace_object()
    if found is None:
        raise NotFoundError(
            f"environment {environment} was never brought up: there is no namespace {api.namespace}",
            where=f"context {api.access.context}",
            remedy=f"run `mlops up {environment}`",
        )
    if (found["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
        raise PolicyError(
            f"namespace {api.namespace} exists and is not ours: it has no label {MANAGED_BY}={MANAGER}",
            where=f"context {api.access.context}",
            remedy=f"name another one by `{PROJECT}:namespace` in stack config",
        )


class Reach:
    """An environment that can be asked for the length of a block of `reach`."""

    def __init__(self, place: Place, api: ApiServer, forwards: Forwards) -> None:
        self.place = place
        self.api = api
        self.ports: dict[str, int] = {}
        self._forwards = forwards

    def variables(self, layer: str) -> dict[str, str]:
        """The variables of a layer (`env`, `operator`, `release-…`) as they are in the cluster."""
        return stored(self.api, layer)

    def here(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`variables` with the addresses of this machine's forwards, and this machine's folders."""
        return here(variables, self.ports, root=self.place.root, folder=self.place.folder)

    def refresh(self) -> None:
        """Write every layer's variables into the environment's folder."""
        folder = self.place.folder / "env"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = self.variables("env")
        database = environment.get("MLOPS_DATABASE_HOST", "")
        env_file.write(folder / "environment.env", self.here(environment))
        # The host says which addresses are the environment's own Postgres.
        operator = self.variables("operator")
        found = self.here({"MLOPS_DATABASE_HOST": database, **operator})
        env_file.write(folder / "operator.env", {name: found[name] for name in operator})
        for one in self.api.list("configmaps", {MANAGED_BY: MANAGER}):
            name = one["metadata"]["name"]
            if name.startswith("release-"):
                env_file.write(folder / f"{name}.env", self.here(self.variables(name)))

    def open_services(self, services: Mapping[str, int]) -> None:
        """Forward the Services of releases that are there: local port by name of the Service.

        One that has no pod that runs is no reason to stop here: that it does not answer is for who asks it to tell, and
        the command may be the one that mends it.
        """
        there = {one["metadata"]["name"] for one in self.api.list("services", {MANAGED_BY: MANAGER})}
        found = [Target(name, SERVICE_PORT, port) for name, port in services.items() if name in there]
        running = running_workloads(self.api)
        self._forwards.add(found, later={one.service for one in found if one.service not in running})


@contextlib.contextmanager
def reach(place: Place) -> Iterator[Reach]:
    """Open an environment on a cluster. Raises what `require_ours` raises, UnreachableError, DeadlineError."""
    with ApiServer(place.access, place.namespace) as api:
        require_ours(api, place.environment)
        forwards = Forwards(place.folder / "forward", place.access, place.namespace)
        found = Reach(place, api, forwards)
        found.ports.update(known_ports(place.folder, api))
        targets = [
            Target(name, PLATFORM_PORTS[name], port) for name, port in found.ports.items() if name in _NEEDED
        ]
        with forwards.used(targets):
            found.refresh()
            yield found


def known_ports(folder: Path, api: ApiServer) -> dict[str, int]:
    """The ports of this machine that forwards of the environment's servers have, by Service."""
    there = {one["metadata"]["name"] for one in api.list("services", {MANAGED_BY: MANAGER})}
    return _local_ports(folder / "forward", sorted(there & set(PLATFORM_PORTS)))


def stored(api: ApiServer, layer: str) -> dict[str, str]:
    """The variables of one layer: its ConfigMap and its Secret. Raises NotFoundError where neither exists."""
    config, secret = api.get("configmaps", layer), api.get("secrets", layer)
    if config is None and secret is None:
        raise NotFoundError(
            f"there are no variables {layer!r} in the namespace",
            where=api.where,
            remedy="`mlops up ENV` writes them",
        )
    return {**((config or {}).get("data") or {}), **_decoded(secret)}


def here(
    variables: Mapping[str, str], ports: Mapping[str, int], *, root: Path, folder: Path
) -> dict[str, str]:
    """Variables with the forwards' addresses in place of the cluster's. Pure.

    An address that is not the environment's own (a Postgres, MLflow or Prefect that somebody else runs, beside the
    relay) is kept.
    """
    found = dict(variables)
    host = found.get("MLOPS_DATABASE_HOST")
    if "relay" in ports:
        for name in _POSTGRES_URLS:
            if name in found and (host is None or urlsplit(found[name]).hostname == host):
                found[name] = _moved(found[name], ports["relay"])
        if host is not None:
            found["MLOPS_DATABASE_HOST"], found["MLOPS_DATABASE_PORT"] = _HERE, str(ports["relay"])
    for name, service in (("MLFLOW_TRACKING_URI", "mlflow"), ("PREFECT_API_URL", "prefect")):
        if name in found and service in ports:
            found[name] = _moved(found[name], ports[service])
    for name, value in (("MLOPS_PROJECT_ROOT", root), ("MLOPS_MODEL_CACHE", folder / "models")):
        if name in found:
            found[name] = str(value)
    return found


def is_secret(name: str) -> bool:
    """Whether a variable is secret by the table of keys; one that the table lacks counts as secret."""
    return name not in BY_NAME or BY_NAME[name].secret


def _moved(url: str, port: int) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{_HERE}:{port}"))


def _decoded(secret: Object | None) -> dict[str, str]:
    data = (secret or {}).get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def _local_ports(folder: Path, services: list[str]) -> dict[str, int]:
    """Ports of this machine that stay the same from command to command."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "ports.json"
    known: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [name for name in services if name not in known]
    if missing:
        known.update(zip(missing, free_ports(len(missing)), strict=True))
        path.write_text(json.dumps(known), encoding="utf-8")
    return {name: known[name] for name in services}
