"""Parts of Kubernetes objects that all components write alike: labels, containers, pods, probes. Pure.

Keys are Kubernetes' own (camelCase), as in its documentation. What is here makes a pod meet the `restricted` level
of the Pod Security Standards; must not know a component.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from infra import naming
from infra.cluster import ClusterSettings
from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection

Object = dict[str, Any]

NAME = "app.kubernetes.io/name"
MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
ENVIRONMENT = "mlops.dev/environment"
RELEASE = "mlops.dev/release"
DIGEST = "mlops.dev/digest"
MANAGER = "mlops-sdk"

USER = 10001
"""The user and group of every process in every image; the Dockerfile makes it."""

PROGRAM_READY_S = 300
"""How long the engine waits for an object to be ready, in seconds: a first start pulls images."""


@dataclass(frozen=True)
class Size:
    """What a container asks for and gets at most. CPU is capped generously: who waits for it is throttled."""

    cpu: str
    memory: str
    limit_cpu: str = "2"
    limit_memory: str | None = None

    def resources(self) -> Object:
        """The container's `resources`."""
        limit = self.limit_memory or self.memory
        return {
            "requests": {"cpu": self.cpu, "memory": self.memory},
            "limits": {"cpu": self.limit_cpu, "memory": limit},
        }


@dataclass(frozen=True)
class Container:
    """A container of one of our images.

    No `command`: the image's own. `layers` are ConfigMaps and Secrets of one name, of which later ones win; `secrets`
    are Secrets alone. `volumes` map a volume's name to its mount path, and `claims` its name to the claim behind it;
    a volume without a claim is made by who makes the pod. `files` map a ConfigMap's name to a mount path.
    """

    name: str
    image: pulumi.Input[str]
    size: Size
    command: Sequence[str] = ()
    port: int | None = None
    layers: Sequence[str] = ()
    secrets: Sequence[str] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, Object] = field(default_factory=dict)
    lifecycle: Object | None = None

    def document(self) -> Object:
        """The container as Kubernetes has it."""
        env_from: list[Object] = []
        for layer in self.layers:
            env_from += [{"configMapRef": {"name": layer}}, {"secretRef": {"name": layer}}]
        env_from += [{"secretRef": {"name": name}} for name in self.secrets]
        environment = {"HOME": naming.SCRATCH, "PYTHONPATH": naming.CODE, "PYTHONUNBUFFERED": "1"}
        mounts = {"scratch": naming.SCRATCH, **self.volumes, **self.files}
        document: Object = {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            # A Job that failed then shows its log's last lines in its pod's status.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "env": [
                {"name": key, "value": text} for key, text in {**environment, **self.environment}.items()
            ],
            "envFrom": env_from,
            "resources": self.size.resources(),
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
            **self.probes,
        }
        if self.command:
            document["command"] = list(self.command)
        if self.port is not None:
            document["ports"] = [{"name": "main", "containerPort": self.port}]
        if self.lifecycle is not None:
            document["lifecycle"] = self.lifecycle
        return document

    def pod_volumes(self) -> list[Object]:
        """The volumes behind the mounts, but for those that a StatefulSet's own templates make."""
        own: list[Object] = [{"name": "scratch", "emptyDir": {"sizeLimit": "4Gi"}}]
        for name in self.volumes:
            if name in self.claims:
                own.append({"name": name, "persistentVolumeClaim": {"claimName": self.claims[name]}})
        return [*own, *({"name": name, "configMap": {"name": name}} for name in self.files)]


def labels(settings: ClusterSettings[Any], component: str, section: ReleaseSection | None = None) -> Object:
    """Labels of an object: whose it is, and of which release where it is of one."""
    found = {
        NAME: component,
        MANAGED_BY: MANAGER,
        PART_OF: settings.project.app,
        ENVIRONMENT: settings.environment,
    }
    if section is not None:
        found |= {RELEASE: section.release, DIGEST: short(section.digest)}
    return found


def metadata(
    settings: ClusterSettings[Any],
    name: str,
    component: str | None = None,
    section: ReleaseSection | None = None,
    *,
    annotations: Mapping[str, pulumi.Input[str]] | None = None,
) -> Object:
    """Metadata of an object in the namespace. Every name is given: none is made up by Pulumi.

    A declared field that somebody changed by hand is ours again with the next update, which a conflict would stop
    otherwise. What another part of the product writes is therefore not declared.
    """
    noted = {"pulumi.com/patchForce": "true", **(annotations or {})}
    return {
        "name": name,
        "namespace": settings.namespace,
        "labels": labels(settings, component or name, section),
        "annotations": noted,
    }


def pod(
    settings: ClusterSettings[Any],
    container: Container,
    *,
    component: str,
    section: ReleaseSection | None = None,
    account: str | None = None,
    token: bool = False,
    restart: str = "Always",
    grace_s: int = 30,
    triggers: Mapping[str, pulumi.Input[str]] | None = None,
    **more: Any,
) -> Object:
    """A pod template of one container.

    `account` is its service account; only with `token` does it get a token of the API server. `triggers` are
    annotations whose change starts the pods anew: digests of variables that a process reads when it starts.
    """
    spec: Object = {
        "automountServiceAccountToken": token,
        "enableServiceLinks": False,
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container.document()],
        "volumes": container.pod_volumes(),
        **more,
    }
    if account is not None:
        spec["serviceAccountName"] = account
    if settings.config.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.config.image_pull_secret}]
    return {
        "metadata": {"labels": labels(settings, component, section), "annotations": dict(triggers or {})},
        "spec": spec,
    }


def http_probes(path: str, port: int, *, start_s: int = 120, live: str | None = None) -> dict[str, Object]:
    """Probes of a server that answers `path` when it is ready, and `live` (default: the same) while it lives."""

    def probe(at: str, period_s: int, failures: int) -> Object:
        return {
            "httpGet": {"path": at, "port": port},
            "periodSeconds": period_s,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe(path, 2, start_s // 2),
        "readinessProbe": probe(path, 5, 2),
        "livenessProbe": probe(live or path, 10, 6),
    }


def tcp_probes(port: int, *, start_s: int = 60) -> dict[str, Object]:
    """Probes of a server of which only the port can be asked."""

    def probe(period_s: int, failures: int) -> Object:
        return {
            "tcpSocket": {"port": port},
            "periodSeconds": period_s,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe(1, start_s),
        "readinessProbe": probe(5, 2),
        "livenessProbe": probe(10, 6),
    }


def command_probes(command: Sequence[str], *, start_s: int = 120) -> dict[str, Object]:
    """Probes of a process without a port, by a command that ends with 0 while it lives."""

    def probe(period_s: int, failures: int) -> Object:
        return {
            "exec": {"command": list(command)},
            "periodSeconds": period_s,
            "timeoutSeconds": 10,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe(5, start_s // 5),
        "readinessProbe": probe(30, 2),
        "livenessProbe": probe(30, 4),
    }


def claim_spec(settings: ClusterSettings[Any], size: str) -> Object:
    """The spec of a claim of storage that one node writes to."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {
        **spec,
        **({"storageClassName": settings.config.storage_class} if settings.config.storage_class else {}),
    }


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Command that runs a module of an image, without the working folder on its path."""
    return ("python", "-P", "-m", name, *arguments)
