"""What is said of pods that do not run: in the words of a real kubelet."""

import pytest

from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.cluster.pods import read_pods, reasons
from tests.support.cluster import MANAGED, deployment, until

_EATS = "x = []\nwhile True: x.append(bytearray(4_000_000))"


@pytest.mark.parametrize(
    ("name", "command", "words"),
    [
        ("eater", ["python3", "-c", _EATS], "OOMKilled (exit code 137)"),
        (
            "crasher",
            ["python3", "-c", "raise SystemExit('the model does not fit')"],
            "the model does not fit",
        ),
    ],
)
def test_a_pod_that_dies_is_told_with_its_reason(
    namespace: ApiServer, name: str, command: list[str], words: str
) -> None:
    made = namespace.apply("deployments", deployment(name, command))
    labels = made["spec"]["selector"]["matchLabels"]
    found = until(
        lambda: [line for line in reasons(namespace, labels) if words in line], f"the reason of {name}"
    )
    assert found
    assert [pod.workload for pod in read_pods(namespace)] == [name]
    # It is started again and again, and runs for a moment each time.
    until(lambda: not any(pod.running for pod in read_pods(namespace)), f"the end of {name}")


def test_an_image_that_cannot_be_had_is_told(namespace: ApiServer) -> None:
    made = deployment("lost", ["true"], image="127.0.0.1:1/lost:1")
    namespace.apply("deployments", made)
    labels = {**MANAGED, "app.kubernetes.io/name": "lost"}
    found = until(lambda: reasons(namespace, labels), "the reason of the lost image")
    assert "127.0.0.1:1/lost:1" in found[0]


def test_a_pod_that_fits_no_node_is_told(namespace: ApiServer) -> None:
    made = deployment("giant", ["true"])
    resources = {"requests": {"cpu": "500", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    namespace.apply("deployments", made)
    found = until(lambda: [pod for pod in read_pods(namespace) if pod.why], "the reason of the giant")
    assert found[0].state == "PENDING"
    assert "Insufficient cpu" in found[0].why
