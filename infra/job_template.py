"""The base job template of a Kubernetes work pool: what a flow run's Job is. Pure.

Texts in double braces are Prefect's own template variables; a deployment sets them by job variables. The shape is that
of prefect-kubernetes' default template; what is more here is `envFrom` of both layers and the `restricted` pod.
"""

from typing import Any

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.manifests import Object
from mlops_sdk.release.digest import digest_of

ENVIRONMENT_LAYER = "env"


def of(settings: ClusterSettings[Any]) -> Object:
    """The template of an environment: runs get the environment layer, then `layer`, in an image of the project."""
    return {
        "job_configuration": {
            "command": "{{ command }}",
            "env": "{{ env }}",
            "labels": "{{ labels }}",
            "name": "{{ name }}",
            "annotations": "{{ annotations }}",
            "namespace": settings.namespace,
            "job_manifest": _job(settings),
            "job_watch_timeout_seconds": None,
            "pod_watch_timeout_seconds": 300,
            "stream_output": True,
        },
        "variables": {"type": "object", "properties": _variables(settings)},
    }


def version(settings: ClusterSettings[Any]) -> str:
    """8 hex digits of the template and what applies it: a changed one is applied by a Job of another name."""
    return digest_of({"template": of(settings), "image": settings.image("job")})[7:15]


def _job(settings: ClusterSettings[Any]) -> Object:
    container = manifests.Container(
        name="prefect-job",
        image="{{ image }}",
        size=manifests.Size(
            cpu="{{ cpu_request }}", memory="{{ memory_request }}", limit_memory="{{ memory_limit }}"
        ),
        layers=(ENVIRONMENT_LAYER, "{{ layer }}"),
    )
    # On Google Cloud a run sends and receives messages as an account of its own.
    account = naming.FLOW_RUN if settings.kind == "gcp" else None
    pod = manifests.pod(settings, container, component=naming.FLOW_RUN, account=account, restart="Never")
    document = pod["spec"]["containers"][0]
    document["args"] = "{{ command }}"
    document["env"] = "{{ env }}"
    document["workingDir"] = naming.CODE
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "annotations": "{{ annotations }}",
            "generateName": "{{ name }}-",
            "labels": "{{ labels }}",
            "namespace": settings.namespace,
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": "{{ finished_job_ttl }}",
            # The worker wants these two in the pod's spec, where the API server does not know them.
            "template": {
                "metadata": pod["metadata"],
                "spec": {**pod["spec"], "parallelism": 1, "completions": 1},
            },
        },
    }


def _variables(settings: ClusterSettings[Any]) -> Object:
    def text(description: str, default: str) -> Object:
        return {"type": "string", "description": description, "default": default}

    own = {"HOME": naming.SCRATCH, "PYTHONPATH": naming.CODE, "PYTHONUNBUFFERED": "1"}
    return {
        "name": {"title": "Name", "type": "string"},
        "command": {"title": "Command", "type": "string"},
        # A run's own variables win over these, so a deployment that sets some has to keep them.
        "env": {"title": "Environment", "type": "object", "default": own},
        "labels": {"title": "Labels", "type": "object", "default": {}},
        "annotations": {"title": "Annotations", "type": "object", "default": {}},
        "layer": text(
            "ConfigMap and Secret whose variables are read last: release-DIGEST12", ENVIRONMENT_LAYER
        ),
        "image": text("image that runs the flow", settings.image("job")),
        "cpu_request": text("CPU that a run asks for", "250m"),
        "memory_request": text("memory that a run asks for", "512Mi"),
        "memory_limit": text("memory at which a run is ended", "2Gi"),
        "finished_job_ttl": {
            "type": "integer",
            "description": "seconds that a finished Job stays, to be looked at",
            "default": 86_400,
        },
    }
