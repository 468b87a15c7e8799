"""Whether the namespace's quota holds what the environment asks for, found before anything is made. Pure.

Kubernetes itself would let every Deployment be made and then start none of its pods.
"""

from collections.abc import Iterator
from typing import Any

from infra import naming
from infra.cluster import ClusterSettings
from infra.components.cluster import jobs, parts
from infra.manifests import Size
from mlops_sdk.errors import InputError
from mlops_sdk.stack.config import PROJECT

_UNITS = {
    "m": 0.001,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
POSTGRES = Size(cpu="100m", memory="512Mi", limit_memory="1Gi")
"""What the environment's own Postgres asks for."""

AT_ONCE = 1
"""Pods beside the lasting ones: a Job, a backup, or a service's successor that comes before it goes."""


def number(quantity: str) -> float:
    """A quantity of Kubernetes as a number: cores or bytes."""
    digits = quantity.rstrip("mkKMGTi")
    return float(digits) * _UNITS[quantity[len(digits) :]]


def require_room(settings: ClusterSettings[Any]) -> None:
    """Raises InputError that names the key and what is needed, where the quota is too small for the config."""
    asked = list(sizes(settings))
    quota = settings.config.quota
    needs = {
        "cpu": (sum(number(one.cpu) for one in asked), number(quota.cpu), quota.cpu, "cores"),
        "memory": (sum(number(one.memory) for one in asked), number(quota.memory), quota.memory, "bytes"),
        "pods": (float(len(asked)), float(quota.pods), str(quota.pods), "pods"),
    }
    faults = [
        f"  {PROJECT}:quota.{key}: {written} is too small: {_shown(need)} {unit} are asked for"
        for key, (need, room, written, unit) in needs.items()
        if need > room
    ]
    if faults:
        count = len(settings.releases)
        raise InputError(
            f"the namespace could not hold the platform and {count} releases\n" + "\n".join(faults),
            where=f"stack config of {settings.environment}",
            remedy=f"raise the quota, or lower {PROJECT}:service; `keep` of pyproject.toml is how many releases stay",
        )


def sizes(settings: ClusterSettings[Any]) -> Iterator[Size]:
    """What every pod of the environment asks for, one a pod."""
    yield parts.relay(settings).size
    yield parts.worker(settings).size
    yield parts.agent(settings).size
    if settings.kind == "kubernetes" and settings.given.postgres is None:
        yield POSTGRES
    if settings.given.mlflow is None:
        yield parts.mlflow(settings, naming.DATA).size
    if settings.given.prefect is None:
        yield parts.prefect(settings).size
    service = settings.config.service
    own = Size(cpu=service.cpu, memory=service.memory)
    serving = [one for one in settings.releases if one.service is not None]
    for _ in range(len(serving) * service.replicas + (AT_ONCE if serving else 0)):
        yield own
    for release in settings.releases:
        if release.jobs is not None:
            yield jobs.CONSUMER_SIZE
            if settings.invokers_inside:
                yield jobs.INVOKER_SIZE


def _shown(need: float) -> str:
    return f"{need:.2f}".rstrip("0").rstrip(".")
