"""Whether an object of the cluster has become what it was asked to be. Pure.

The rules follow what the official plugin awaits: https://www.pulumi.com/registry/packages/kubernetes/ ("await").
"""

from typing import Any

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


class NotReadyError(Exception):
    """An object did not become ready, or never can."""


def ready(obj: dict[str, Any]) -> tuple[bool, str]:
    """(is ready, what is missing). Raises NotReadyError when it never can be."""
    status, spec, kind = obj.get("status") or {}, obj.get("spec") or {}, obj["kind"]
    conditions = {entry["type"]: entry for entry in status.get("conditions") or []}
    if kind in _WORKLOADS and status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return False, "not yet observed by its controller"
    match kind:
        case "Deployment":
            return _deployment(spec, status, conditions)
        case "StatefulSet":
            return _stateful_set(spec, status)
        case "DaemonSet":
            wanted, there = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            return there == wanted == status.get(
                "updatedNumberScheduled", 0
            ), f"{there} of {wanted} pods ready"
        case "Job":
            return _job(spec, status, conditions)
        case "Pod":
            done = _is_true(conditions, "Ready") or status.get("phase") == "Succeeded"
            return done, f"phase {status.get('phase')}"
        case "CustomResourceDefinition":
            return _is_true(conditions, "Established"), "not established"
    return True, ""


def _deployment(spec: dict[str, Any], status: dict[str, Any], conditions: dict[str, Any]) -> tuple[bool, str]:
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise NotReadyError(progressing["message"])
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", 0)
    done = updated == wanted == status.get("replicas", 0) == available
    return wanted == 0 or done, f"{available} of {wanted} replicas available, {updated} updated"


def _stateful_set(spec: dict[str, Any], status: dict[str, Any]) -> tuple[bool, str]:
    wanted, there = spec.get("replicas", 1), status.get("readyReplicas", 0)
    updated = status.get("updatedReplicas", wanted)
    same = status.get("currentRevision") == status.get("updateRevision")
    return wanted == 0 or (there == updated == wanted and same), f"{there} of {wanted} replicas ready"


def _job(spec: dict[str, Any], status: dict[str, Any], conditions: dict[str, Any]) -> tuple[bool, str]:
    if _is_true(conditions, "Failed"):
        failed = conditions["Failed"]
        raise NotReadyError(f"Job failed: {failed.get('reason')}: {failed.get('message')}")
    counts = f"{status.get('succeeded', 0)} succeeded, {status.get('failed', 0)} failed"
    return _is_true(conditions, "Complete") or spec.get("suspend", False), counts


def _is_true(conditions: dict[str, Any], kind: str) -> bool:
    return bool(conditions.get(kind, {}).get("status") == "True")
