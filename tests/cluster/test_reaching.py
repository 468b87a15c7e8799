"""From this machine into an environment on a cluster, and what is said where there is no way."""

import base64
import socket
from pathlib import Path

import httpx
import pytest

from mlops_sdk.cluster import kubeconfig
from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.cluster.forwarder import Forwards, Target
from mlops_sdk.errors import (
    AuthError,
    DeadlineError,
    InputError,
    NotFoundError,
    PolicyError,
    UnreachableError,
)
from mlops_sdk.platform import reach
from mlops_sdk.runtime import env_file
from mlops_sdk.stack.ports import free_ports
from tests.support.cluster import MANAGED, RealCluster, admin, deployment, service, until

_ECHO = """
import socketserver, threading
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"from inside: " + self.rfile.readline())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
for port in (5432, 5000, 4200):
    threading.Thread(target=Server(("", port), Echo).serve_forever).start()
"""


@pytest.fixture
def relay(namespace: ApiServer) -> ApiServer:
    """A server that answers where the environment's relay would."""
    probe = {"tcpSocket": {"port": 5432}, "periodSeconds": 1}
    for name, port in reach.PLATFORM_PORTS.items():
        if name != "agent":
            namespace.apply("services", service(name, port, selects="relay"))
    namespace.apply(
        "deployments", deployment("relay", ["python3", "-c", _ECHO], port=5432, readinessProbe=probe)
    )
    until(
        lambda: (namespace.require("deployments", "relay").get("status") or {}).get("availableReplicas"),
        "the relay",
    )
    return namespace


def test_a_port_of_a_pod_is_a_port_of_this_machine_until_nobody_needs_it(
    real_cluster: RealCluster, relay: ApiServer, tmp_path: Path
) -> None:
    port = free_ports(1)[0]
    forwards = Forwards(tmp_path, real_cluster.access, relay.namespace)
    with forwards.used([Target("relay", 5432, port)]):
        assert _ask(port) == b"from inside: hello\n"
        pod = relay.list("pods", {**MANAGED, "app.kubernetes.io/name": "relay"})[0]["metadata"]["name"]
        with admin(real_cluster) as http:
            http.delete(f"/api/v1/namespaces/{relay.namespace}/pods/{pod}")
        until(lambda: _answers(port), "the forward to the pod that came after")
    until(lambda: not _answers(port), "the end of the forward")


def test_an_environment_is_reached_with_variables_that_work_here(
    real_cluster: RealCluster, relay: ApiServer, tmp_path: Path
) -> None:
    _variables(relay)
    place = reach.Place("stg", tmp_path, tmp_path / "stg", real_cluster.access, relay.namespace)
    with reach.reach(place) as found:
        values = env_file.load_layers(place.folder, "environment", "operator", environ={})
        port = int(values["MLOPS_DATABASE_PORT"])
        assert values["MLOPS_DATABASE_HOST"] == "127.0.0.1"
        assert values["MLOPS_OPERATOR_URL"] == f"postgresql://sdk:pw@127.0.0.1:{port}/shop"
        assert values["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{found.ports['mlflow']}"
        assert _ask(port) == b"from inside: hello\n"
        assert (place.folder / "env" / "operator.env").stat().st_mode & 0o777 == 0o600


def test_a_namespace_of_somebody_else_is_refused(real_cluster: RealCluster, tmp_path: Path) -> None:
    place = reach.Place("stg", tmp_path, tmp_path / "stg", real_cluster.access, "kube-system")
    with pytest.raises(PolicyError, match="exists and is not ours"), reach.reach(place):
        pass


def test_an_environment_that_was_never_brought_up_is_told(real_cluster: RealCluster, tmp_path: Path) -> None:
    place = reach.Place("stg", tmp_path, tmp_path / "stg", real_cluster.access, "nothing-here")
    with pytest.raises(NotFoundError, match="never brought up") as caught, reach.reach(place):
        pass
    assert "mlops up stg" in caught.value.remedy


def test_a_service_without_pods_is_not_waited_for_for_ever(
    real_cluster: RealCluster, namespace: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_sdk.cluster.forwarder._START_S", 3.0)
    namespace.apply("services", service("relay", 5432))
    forwards = Forwards(tmp_path, real_cluster.access, namespace.namespace)
    with (
        pytest.raises(DeadlineError, match="service relay could not be forwarded"),
        forwards.used([Target("relay", 5432, free_ports(1)[0])]),
    ):
        pass


def test_a_release_without_a_pod_leaves_its_environment_open_and_is_reached_once_it_has_one(
    real_cluster: RealCluster, relay: ApiServer, tmp_path: Path
) -> None:
    _variables(relay)
    place = reach.Place("stg", tmp_path, tmp_path / "stg", real_cluster.access, relay.namespace)
    relay.apply("services", service("service-1", reach.SERVICE_PORT))
    port = free_ports(1)[0]
    with reach.reach(place) as found:
        found.open_services({"service-1": port})
        command = ["python3", "-m", "http.server", str(reach.SERVICE_PORT)]
        relay.apply("deployments", deployment("service-1", command))
        until(lambda: _lists_files(port), "the forward to the pod that came")


def test_a_wrong_context_names_those_there_are(real_cluster: RealCluster) -> None:
    with pytest.raises(NotFoundError, match="no context 'prd'; it has: test-node"):
        kubeconfig.load(real_cluster.kubeconfig, "prd")


def test_a_cluster_that_does_not_answer_is_unreachable(real_cluster: RealCluster, tmp_path: Path) -> None:
    text = real_cluster.kubeconfig.read_text(encoding="utf-8")
    moved = tmp_path / "kubeconfig"
    moved.write_text(text.replace(real_cluster.access.server, "https://127.0.0.1:1"), encoding="utf-8")
    with (
        ApiServer(kubeconfig.load(moved, "test-node"), "stg") as api,
        pytest.raises(UnreachableError, match="does not answer"),
    ):
        api.list("pods")


def test_a_token_that_the_cluster_refuses_is_no_secret_of_the_message(
    real_cluster: RealCluster, tmp_path: Path
) -> None:
    token = real_cluster.access.token
    assert token is not None
    text = real_cluster.kubeconfig.read_text(encoding="utf-8")
    moved = tmp_path / "kubeconfig"
    moved.write_text(text.replace(token.get_secret_value(), "planted-token"), encoding="utf-8")
    with ApiServer(kubeconfig.load(moved, "test-node"), "stg") as api, pytest.raises(AuthError) as caught:
        api.list("pods")
    assert "planted-token" not in str(caught.value)


def test_a_quota_that_is_too_small_is_said_so(namespace: ApiServer) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "mlops"},
        "spec": {"hard": {"count/configmaps": "1"}},
    }
    namespace.apply("resourcequotas", quota)

    def refusal() -> PolicyError | None:
        try:
            for number in range(3):
                document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}}
                namespace.apply("configmaps", document)
        except PolicyError as error:
            return error
        return None

    error = until(refusal, "the quota")
    assert "exceeded quota" in error.what
    assert "mlops-sdk:quota" in error.remedy


def test_a_misspelled_field_is_refused(namespace: ApiServer) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dataa": {"a": "b"}}
    with pytest.raises(InputError, match="dataa"):
        namespace.apply("configmaps", document)


def _variables(api: ApiServer) -> None:
    data = {
        "MLOPS_ENVIRONMENT": "stg",
        "MLOPS_DATABASE_HOST": "postgres",
        "MLOPS_DATABASE_PORT": "5432",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "PREFECT_API_URL": "http://prefect:4200/api",
    }
    env = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env"}, "data": data}
    api.apply("configmaps", env)
    url = base64.b64encode(b"postgresql://sdk:pw@postgres:5432/shop").decode()
    operator = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "operator"},
        "data": {"MLOPS_OPERATOR_URL": url},
    }
    api.apply("secrets", operator)


def _ask(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"hello\n")
        return connection.makefile("rb").readline()


def _answers(port: int) -> bool:
    try:
        return _ask(port) == b"from inside: hello\n"
    except OSError:
        return False


def _lists_files(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).is_success
    except httpx.TransportError:
        return False
