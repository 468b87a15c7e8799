"""What pods of an environment do, in words: which run, and why one does not. The parsing is pure."""

from dataclasses import dataclass

from mlops_sdk.cluster.api import ApiServer, Object

_MANAGED = {"app.kubernetes.io/managed-by": "mlops-sdk"}
_JOB_LABELS = ("job-name", "batch.kubernetes.io/job-name")
_LOG_LINES = 8


@dataclass(frozen=True)
class Pod:
    """One pod. `workload` is its Deployment or StatefulSet; `state` one word; `why` says what is wrong, or is empty."""

    name: str
    workload: str
    state: str
    running: bool
    why: str = ""


def read_pods(api: ApiServer) -> list[Pod]:
    """The pods of the environment's servers and services, by name; those of Jobs come and go and are left out."""
    found = api.list("pods", _MANAGED)
    return sorted(
        (pod_of(one) for one in found if not is_of_job(one)), key=lambda pod: (pod.workload, pod.name)
    )


def running_workloads(api: ApiServer) -> set[str]:
    """The Deployments and StatefulSets of which a pod has been started, ready or not, and is not ending."""
    return {
        _workload(one)
        for one in api.list("pods", _MANAGED)
        if (one.get("status") or {}).get("phase") == "Running"
        and not one["metadata"].get("deletionTimestamp")
    }


def pod_of(document: Object) -> Pod:
    """What one pod of the API server says."""
    status = document.get("status") or {}
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or [])
    state, why = _state(status)
    if document["metadata"].get("deletionTimestamp"):
        state = "ENDING"
    return Pod(document["metadata"]["name"], _workload(document), "RUNNING" if ready else state, ready, why)


def is_of_job(document: Object) -> bool:
    """Whether a Job made the pod."""
    labels = document["metadata"].get("labels") or {}
    return any(name in labels for name in _JOB_LABELS)


def reasons(api: ApiServer, labels: dict[str, str]) -> list[str]:
    """Why the pods with these labels are not ready, one line each, with the last lines of a crashed one's log."""
    lines: list[str] = []
    for document in api.list("pods", labels):
        pod = pod_of(document)
        if pod.running or not pod.why:
            continue
        lines.append(f"pod {pod.name}: {pod.why}")
        restarted = any(one.get("restartCount") for one in document["status"].get("containerStatuses") or [])
        if "ImagePull" not in pod.why and pod.state != "PENDING":
            log = api.log(pod.name, last=_LOG_LINES, previous=restarted)
            lines += [f"  {line}" for line in log.strip().splitlines()]
    return lines


def _state(status: Object) -> tuple[str, str]:
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        waiting = (container.get("state") or {}).get("waiting")
        ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
            "terminated"
        )
        if ended and ended.get("reason") not in (None, "Completed"):
            words = f"{ended['reason']} (exit code {ended.get('exitCode')})"
            return (waiting or {}).get("reason", ended["reason"]), words
        if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
            return waiting["reason"], f"{waiting['reason']} {waiting.get('message', '')}".strip()
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return "PENDING", str(condition.get("message") or condition.get("reason") or "")
    return str(status.get("phase", "Unknown")).upper(), ""


def _workload(document: Object) -> str:
    labels = document["metadata"].get("labels") or {}
    hashed = labels.get("pod-template-hash")
    name = str(document["metadata"]["name"])
    if hashed:
        return name.split(f"-{hashed}")[0]
    head, _, tail = name.rpartition("-")
    return head if tail.isdigit() else name
