"""The router of an environment on a cluster, on a real Gateway controller with clients that ask all the time."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import httpx
import pytest

from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.errors import DeadlineError, NotFoundError
from mlops_sdk.release.buckets import bucket, bucket_headers
from mlops_sdk.traffic.gateway import GatewayTraffic
from tests.support.clients import clients
from tests.support.cluster import RealCluster, deployment, gateway, route, service, until
from tests.support.cluster_program import ClusterProgram
from tools.clone import ROOT
from tools.cluster.node import GATEWAY_CLASS, GATEWAY_PORT

_ANSWER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""
_PORTS = {7001: "service-a", 7002: "service-b"}
_GATEWAY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import pulumi
import pulumi_kubernetes
from infra.components.cluster.gateway import Gateway, GatewayArgs
from tests.support.cluster_stacks import settings

config = pulumi.Config()
cluster = pulumi_kubernetes.Provider("cluster", namespace=config.require("namespace"), context="test-node")
names = {{"namespace": config.require("namespace"), "host": config.require("host")}}
found = settings("stg", gatewayClass={GATEWAY_CLASS!r}, gatewayPort={GATEWAY_PORT}, **names)
Gateway("gateway", GatewayArgs(found), pulumi.ResourceOptions(providers=[cluster]))
"""
"""The program's own component, alone."""


@pytest.fixture
def services(namespace: ApiServer) -> Callable[[], None]:
    """Two services that answer with their names; a wait until they do."""
    for name in _PORTS.values():
        probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
        made = deployment(
            name, ["python3", "-c", _ANSWER], env=[{"name": "NAME", "value": name}], readinessProbe=probe
        )
        namespace.apply("deployments", made)
        namespace.apply("services", service(name))

    def wait() -> None:
        for name in _PORTS.values():
            until(lambda name=name: _is_available(namespace, name), f"deployment {name}")

    return wait


@pytest.fixture
def traffic(real_cluster: RealCluster, namespace: ApiServer, services: Callable[[], None]) -> GatewayTraffic:
    """Both services behind the Gateway, and nothing live."""
    namespace.apply("gateways", gateway(real_cluster))
    namespace.apply("httproutes", route(_host(namespace)))
    services()
    return GatewayTraffic(namespace, lambda: _PORTS)


def test_weights_and_buckets_send_each_request_where_the_shift_says(
    real_cluster: RealCluster, namespace: ApiServer, traffic: GatewayTraffic
) -> None:
    ask = _asker(real_cluster, namespace)
    traffic.point(7001)
    until(lambda: ask({}) == "service-a", "the first release's answer")
    traffic.set_slots(7001, 7002)
    traffic.set_weight(64)
    keys = [str(number) for number in range(64)]
    wanted = {key: "service-b" if int(bucket("shop", key), 16) < 64 else "service-a" for key in keys}
    assert set(wanted.values()) == set(_PORTS.values())

    def by_key() -> dict[str, str]:
        return {key: ask(bucket_headers("shop", key)) for key in keys}

    until(lambda: by_key() == wanted, "every bucket at its release")
    by_chance = Counter(ask({}) for _ in range(200))
    assert 25 <= by_chance["service-b"] <= 75
    inside = next(key for key in keys if wanted[key] == "service-b")
    assert ask({**bucket_headers("shop", inside), "X-MLOps-Slot": "current"}) == "service-a"
    assert traffic.read().next_share == traffic.read().keyless_share == 64


def test_a_shift_a_handover_and_a_way_back_fail_no_request(
    real_cluster: RealCluster, namespace: ApiServer, traffic: GatewayTraffic
) -> None:
    ask = _asker(real_cluster, namespace)
    traffic.point(7001)
    until(lambda: ask({}) == "service-a", "the first release's answer")
    with _clients(real_cluster, namespace) as seen:
        traffic.set_slots(7001, 7002)
        for weight in (16, 64, 100, 256):
            traffic.set_weight(weight)
        traffic.point(7002)
        until(lambda: ask({}) == "service-b", "the second release's answer")
        traffic.point(7001)
        until(lambda: ask({}) == "service-a", "the first release's answer again")
    assert set(seen) == set(_PORTS.values()), seen
    assert sum(seen.values()) > 100
    assert traffic.read().leads_only_to(7001)


def test_the_program_changes_its_own_fields_of_the_route_and_never_where_requests_go(
    real_cluster: RealCluster, namespace: ApiServer, services: Callable[[], None], tmp_path: Path
) -> None:
    values = {"namespace": namespace.namespace, "host": _host(namespace)}
    program = ClusterProgram(tmp_path, real_cluster.kubeconfig, values).write(_GATEWAY)
    program.up()
    ask = _asker(real_cluster, namespace)
    # Before the first release the route leads nowhere, and says so.
    until(lambda: ask({}).startswith("HTTP 5"), "an answer of the route without a backend")
    services()
    traffic = GatewayTraffic(namespace, lambda: _PORTS)
    assert traffic.read().current_port is None
    traffic.set_slots(7001, 7002)
    traffic.set_weight(64)
    rules = namespace.require("httproutes", "route")["spec"]["rules"]
    program.run("preview", "--stack", "stg", "--expect-no-changes")
    other = f"other.{_host(namespace)}"
    program.run("config", "set", "--stack", "stg", "host", other)
    program.up()
    spec = namespace.require("httproutes", "route")["spec"]
    assert spec["hostnames"] == [other]
    assert spec["rules"] == rules
    slot = {"Host": other, "X-MLOps-Slot": "current"}
    until(lambda: ask(slot) == "service-a", "an answer at the other name")
    # A refresh sees the rules and makes nothing of them.
    program.run("refresh", "--stack", "stg", "--yes", "--skip-preview")
    program.run("preview", "--stack", "stg", "--expect-no-changes")


def test_what_was_said_once_can_be_said_again(traffic: GatewayTraffic, namespace: ApiServer) -> None:
    traffic.set_slots(7001, 7002)
    traffic.set_weight(10, keyless_share=0)
    before = namespace.require("httproutes", "route")["metadata"]["generation"]
    traffic.set_slots(7001, 7002)
    traffic.set_weight(10, keyless_share=0)
    assert namespace.require("httproutes", "route")["metadata"]["generation"] == before


def test_a_release_that_is_not_bound_gets_no_traffic(traffic: GatewayTraffic) -> None:
    with pytest.raises(NotFoundError, match="no bound release has service port 7003"):
        traffic.point(7003)


def test_without_a_controller_the_error_says_so(
    namespace: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_sdk.traffic.gateway._TAKEN_UP_S", 1.0)
    namespace.apply("httproutes", route(_host(namespace), parent="of-nobody"))
    with pytest.raises(DeadlineError, match="no Gateway controller") as caught:
        GatewayTraffic(namespace, lambda: _PORTS).point(7001)
    assert "gatewayClass" in caught.value.remedy


def test_before_the_first_up_there_is_no_route(namespace: ApiServer) -> None:
    with pytest.raises(NotFoundError, match="route"):
        GatewayTraffic(namespace, lambda: _PORTS).read()


def _host(namespace: ApiServer) -> str:
    return f"{namespace.namespace}.test"


def _asker(cluster: RealCluster, namespace: ApiServer) -> Callable[[dict[str, str]], str]:
    client = httpx.Client(base_url=cluster.gateway, headers={"Host": _host(namespace)}, trust_env=False)

    def ask(headers: dict[str, str]) -> str:
        answer = client.get("/", headers=headers)
        return answer.text if answer.is_success else f"HTTP {answer.status_code}"

    return ask


def _clients(cluster: RealCluster, namespace: ApiServer) -> AbstractContextManager[Counter[str]]:
    """Clients that ask until the block ends; the count of each answer."""
    return clients(lambda: partial(_asker(cluster, namespace), {}))


def _is_available(namespace: ApiServer, name: str) -> bool:
    status = namespace.require("deployments", name).get("status") or {}
    return status.get("availableReplicas") == 1
