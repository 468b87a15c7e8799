"""What a pod's status means, in words."""

from typing import Any

import pytest

from mlops_sdk.cluster.pods import pod_of


def _pod(status: dict[str, Any], name: str = "service-abc-7f9-x", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def _container(**states: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "main", **states}]}


_OOM = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
_LOOP = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
_PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
_UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}


@pytest.mark.parametrize(
    ("status", "state", "why"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, "RUNNING", ""),
        (_container(state=_OOM), "OOMKilled", "OOMKilled (exit code 137)"),
        (_container(state=_LOOP, lastState=_OOM), "CrashLoopBackOff", "OOMKilled (exit code 137)"),
        (_container(state=_PULL), "ImagePullBackOff", "ImagePullBackOff no such image"),
        ({"conditions": [_UNSCHEDULED], "phase": "Pending"}, "PENDING", "Insufficient cpu"),
        (
            _container(state={"waiting": {"reason": "ContainerCreating"}}) | {"phase": "Pending"},
            "PENDING",
            "",
        ),
    ],
)
def test_a_pod_says_whether_it_runs_and_why_not(status: dict[str, Any], state: str, why: str) -> None:
    pod = pod_of(_pod(status))
    assert (pod.state, pod.why) == (state, why)
    assert pod.running is (state == "RUNNING")


def test_a_pod_knows_what_it_is_one_of() -> None:
    of_a_deployment = _pod({}, **{"pod-template-hash": "7f9"})
    assert pod_of(of_a_deployment).workload == "service-abc"
    assert pod_of(_pod({}, name="postgres-0")).workload == "postgres"
