"""A real Kubernetes for tests: this machine's own node, or the cluster of MLOPS_TEST_KUBECONFIG, and what is run on it.

One node a test run; one namespace a test. Where neither can be had, tests are left out, and say why.
"""

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_sdk.cluster import kubeconfig
from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.cluster.kubeconfig import Access
from mlops_sdk.errors import PolicyError
from tools.cluster.base_image import ensure_base
from tools.cluster.binaries import Binaries, find
from tools.cluster.claim import claimed
from tools.cluster.node import GATEWAY_CLASS, GATEWAY_PORT, Node
from tools.cluster.preparation import reason_to_leave_out
from tools.cluster.project_images import export
from tools.cluster.requirements import lacking

PYTHON_IMAGE = "docker.io/local/python:1"
MANAGED = {"app.kubernetes.io/managed-by": "mlops-sdk"}
_READY_S = 120.0


@dataclass(frozen=True)
class RealCluster:
    """A cluster that answers: its kubeconfig, and the address where its Gateway takes requests."""

    access: Access
    gateway: str
    gateway_port: int
    node: Node | None

    @property
    def kubeconfig(self) -> Path:
        return Path(self.access.file)


_NODE = pytest.StashKey[ExitStack]()


@pytest.fixture(scope="session")
def real_cluster(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[RealCluster]:
    """This machine's node, with a Gateway controller and a Python image; or a given cluster.

    All processes of a test run share one node: who comes first starts it, and stops it when nobody uses it any more.
    """
    given = os.environ.get("MLOPS_TEST_KUBECONFIG")
    if given:
        context = os.environ.get("MLOPS_TEST_CONTEXT", "test-node")
        access = kubeconfig.load(Path(given), context)
        address = os.environ.get("MLOPS_TEST_GATEWAY", f"http://127.0.0.1:{GATEWAY_PORT}")
        yield RealCluster(access, address, GATEWAY_PORT, None)
        return
    binaries = _binaries()
    run = tmp_path_factory.getbasetemp()
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
    users = run / "node-users"
    users.mkdir(exist_ok=True)
    started, own = run / "node", users / str(os.getpid())
    held = pytestconfig.stash.setdefault(_NODE, ExitStack())

    def unused() -> bool:
        with _locked(run / "node.lock"):
            if any(users.iterdir()):
                return False
            started.unlink()
            return True

    with _locked(run / "node.lock"):
        if not started.exists():
            _claim(held)
            state = held.enter_context(_this_machines(binaries))
            started.write_text(str(state), encoding="utf-8")
            held.callback(until, unused, "the end of the node's other users", 1800)
        own.touch()
    try:
        node = Node(Path(started.read_text(encoding="utf-8")), binaries)
        access = kubeconfig.load(node.kubeconfig, "test-node")
        yield RealCluster(access, f"http://127.0.0.1:{GATEWAY_PORT}", GATEWAY_PORT, node)
    finally:
        own.unlink()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the node that this process started, once no other one uses it.

    Not where the fixture ends: that is a part of the process's last test, whose time limit would end the wait, and the
    node under the tests of others.
    """
    held = session.config.stash.get(_NODE, None)
    if held:
        held.close()


def _claim(held: ExitStack) -> None:
    """Claim the machine's node, or skip. One of this run's that is just being stopped is waited for."""
    deadline = time.monotonic() + (120 if "PYTEST_XDIST_WORKER" in os.environ else 0)
    while True:
        try:
            held.enter_context(claimed())
            return
        except PolicyError as error:
            if time.monotonic() >= deadline:
                pytest.skip(f"no cluster: {error.what}")
        time.sleep(0.5)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _binaries() -> Binaries:
    """What a node is started from, or skip: why there can be none here."""
    faults = lacking()
    if faults:
        pytest.skip("no cluster: " + "; ".join(faults) + "; or name one by MLOPS_TEST_KUBECONFIG")
    reason = reason_to_leave_out()
    if reason:
        pytest.skip(f"no cluster: {reason}")
    binaries = find()
    if binaries is None:
        pytest.skip("no cluster: Kubernetes was not built on this machine; `make cluster` does, once")
    return binaries


@contextmanager
def _this_machines(binaries: Binaries) -> Iterator[Path]:
    """The folder of a node that runs."""
    state = Path(tempfile.mkdtemp(prefix="mlops-node-"))
    node = Node(state, binaries)
    try:
        node.start()
        node.start_gateway()
        _import_python(node)
        yield state
    finally:
        node.stop()
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def namespace(real_cluster: RealCluster) -> Iterator[ApiServer]:
    """A namespace of the test's own, as the product makes one; it goes in the background."""
    name = f"t-{secrets.token_hex(4)}"
    with ApiServer(real_cluster.access, name) as api, admin(real_cluster) as http:
        document = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": MANAGED},
        }
        assert http.post("/api/v1/namespaces", json=document).is_success
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        until(lambda: http.get(account).is_success, "the namespace's service account")
        yield api
        http.delete(f"/api/v1/namespaces/{name}")


def admin(cluster: RealCluster) -> httpx.Client:
    """A client with every right, for what the product must not do."""
    token = cluster.access.token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    return httpx.Client(
        base_url=cluster.access.server,
        verify=cluster.access.trust,
        headers=headers,
        trust_env=False,
        timeout=30,
    )


def until(holds: Callable[[], Any], what: str, timeout_s: float = _READY_S) -> Any:
    """Return what `holds` gives once it is true. Fails with `what`."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.2)
    return found


def deployment(
    name: str,
    command: list[str],
    *,
    image: str = PYTHON_IMAGE,
    port: int = 8000,
    memory: str = "64Mi",
    **more: Any,
) -> dict[str, Any]:
    """A Deployment of one pod, and what a test adds to its container."""
    labels = {**MANAGED, "app.kubernetes.io/name": name}
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "ports": [{"containerPort": port}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": memory}},
        **more,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def service(name: str, port: int = 8000, selects: str = "") -> dict[str, Any]:
    """A Service of a Deployment of that name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": MANAGED},
        "spec": {
            "selector": {**MANAGED, "app.kubernetes.io/name": selects or name},
            "ports": [{"port": port, "targetPort": port}],
        },
    }


def gateway(cluster: RealCluster) -> dict[str, Any]:
    """The environment's Gateway, as the program makes it."""
    listener = {"name": "http", "port": cluster.gateway_port, "protocol": "HTTP"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "gateway", "labels": MANAGED},
        "spec": {"gatewayClassName": GATEWAY_CLASS, "listeners": [listener]},
    }


def route(host: str, parent: str = "gateway") -> dict[str, Any]:
    """The environment's HTTPRoute before any release is live."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route", "labels": MANAGED},
        "spec": {"parentRefs": [{"name": parent}], "hostnames": [host], "rules": []},
    }


def _import_python(node: Node) -> None:
    """The base image under a full name, as pods ask for it."""
    base = ensure_base(print)
    with tempfile.TemporaryDirectory(dir=node.state) as scratch:
        node.import_image(export({base: PYTHON_IMAGE}, Path(scratch, "base.tar")))


def kubectl(cluster: RealCluster, *arguments: str) -> Any:
    """What kubectl says, as JSON."""
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), *arguments, "-o", "json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
