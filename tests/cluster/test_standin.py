"""The stand-in for the Kubernetes plugin, under the real engine, against a real API server."""

import json
from pathlib import Path

import pytest

from mlops_sdk.cluster.api import ApiServer
from tests.support.cluster import MANAGED, RealCluster
from tests.support.cluster_program import ClusterProgram

_BEGIN = """
import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
namespace = config.require("namespace")
provider = k8s.Provider("cluster", namespace=namespace, context="test-node")
opts = pulumi.ResourceOptions(provider=provider)
"""
_TWO = (
    _BEGIN
    + """
k8s.core.v1.ConfigMap("env", metadata={"name": "env"}, data={"GREETING": config.get("greeting") or "hello"}, opts=opts)
k8s.core.v1.Secret("keys", metadata={"name": "keys"},
    string_data={"PASSWORD": pulumi.Output.secret("planted-in-a-secret")}, opts=opts)
"""
)
_CRASHES = (
    _BEGIN
    + """
labels = {"app": "crasher"}
container = {
    "name": "main",
    "image": "docker.io/local/python:1",
    "imagePullPolicy": "IfNotPresent",
    "command": ["python3", "-c", "raise SystemExit('no model of that name')"],
}
k8s.apps.v1.Deployment(
    "crasher",
    metadata={"name": "crasher", "annotations": {"pulumi.com/timeoutSeconds": "12"}},
    spec={
        "minReadySeconds": 4,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    },
    opts=opts,
)
"""
)


@pytest.fixture
def program(real_cluster: RealCluster, namespace: ApiServer, tmp_path: Path) -> ClusterProgram:
    return ClusterProgram(tmp_path, real_cluster.kubeconfig, {"namespace": namespace.namespace}).write(_TWO)


def test_objects_are_made_seen_unchanged_mended_and_removed(
    program: ClusterProgram, namespace: ApiServer
) -> None:
    assert "planted-in-a-secret" not in program.preview()
    assert namespace.get("configmaps", "env") is None
    program.up()
    assert namespace.require("configmaps", "env")["data"] == {"GREETING": "hello"}
    assert "2 unchanged" not in program.preview() or "change" not in program.preview()
    program.run("preview", "--stack", "stg", "--expect-no-changes")
    namespace.merge("configmaps", "env", {"data": {"GREETING": "by hand"}})
    program.run("refresh", "--stack", "stg", "--yes", "--skip-preview")
    assert program.resource("env")["outputs"]["data"] == {"GREETING": "by hand"}
    program.run("preview", "--stack", "stg", "--expect-no-changes", fails=True)
    program.run("destroy", "--stack", "stg", "--yes", "--skip-preview")
    assert namespace.get("configmaps", "env") is None


def test_a_secret_is_in_no_output_and_no_state(program: ClusterProgram) -> None:
    printed = program.up() + program.preview() + program.export()
    assert "planted-in-a-secret" not in printed
    assert "cGxhbnRlZC1pbi1hLXNlY3JldA" not in printed
    for path in program.root.rglob("*.json*"):
        assert b"planted-in-a-secret" not in path.read_bytes()


def test_a_misspelled_field_is_refused_at_preview(program: ClusterProgram) -> None:
    program.write(_TWO.replace('data={"GREETING"', 'immutablee=True, data={"GREETING"'))
    # The SDK's own classes would catch this one: the raw resource shows that the server does too.
    raw = (
        _BEGIN
        + """
from pulumi import CustomResource
class Raw(CustomResource):
    def __init__(self, name, props, opts):
        super().__init__("kubernetes:core/v1:ConfigMap", name, props, opts)
Raw("raw", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "raw"}, "dataa": {"a": "b"}}, opts)
"""
    )
    program.write(raw)
    assert "dataa" in program.preview(fails=True)


def test_a_kind_that_the_cluster_lacks_is_found_at_preview(program: ClusterProgram) -> None:
    program.write(
        _BEGIN
        + 'k8s.apiextensions.CustomResource("x", api_version="v1", kind="ConfigMapp", '
        + 'metadata={"name": "x"}, opts=opts)\n'
    )
    assert "no kind ConfigMapp" in program.preview(fails=True)


def test_an_immutable_field_replaces_the_object(program: ClusterProgram, namespace: ApiServer) -> None:
    fixed = _TWO.replace('data={"GREETING"', 'immutable=True, data={"GREETING"')
    program.write(fixed).up()
    before = namespace.require("configmaps", "env")["metadata"]["uid"]
    program.run("config", "set", "--stack", "stg", "greeting", "good evening")
    program.up()
    after = namespace.require("configmaps", "env")
    assert after["data"] == {"GREETING": "good evening"}
    assert after["metadata"]["uid"] != before


def test_a_pod_that_crashes_fails_the_update_with_its_own_words(
    program: ClusterProgram, namespace: ApiServer
) -> None:
    program.write(_CRASHES)
    assert "no model of that name" in program.up(fails=True)
    # Half made is kept in the state, and a rerun with a mended program mends it.
    assert program.resource("crasher")["initErrors"]
    program.write(
        _CRASHES.replace("raise SystemExit('no model of that name')", "import time; time.sleep(3600)")
    )
    program.up()
    status = namespace.require("deployments", "crasher")["status"]
    assert status["availableReplicas"] == 1


def test_an_option_that_is_not_known_is_refused(program: ClusterProgram) -> None:
    program.write(_TWO.replace("context=", "suppress_deprecation_warnings=True, context="))
    assert "does not know this option" in program.preview(fails=True)


@pytest.mark.parametrize(
    ("kubeconfig", "context", "words"),
    [
        ("missing", "test-node", "no such kubeconfig"),
        ("there", "prd", "no context 'prd'"),
    ],
)
def test_a_cluster_that_cannot_be_named_is_an_error_of_one_sentence(
    real_cluster: RealCluster, tmp_path: Path, kubeconfig: str, context: str, words: str
) -> None:
    path = real_cluster.kubeconfig if kubeconfig == "there" else tmp_path / "missing"
    program = ClusterProgram(tmp_path / "project", path, {"namespace": "default"})
    program.write(_TWO.replace("test-node", context))
    assert words in program.preview(fails=True)


def test_labels_of_objects_are_asked_for_by_the_product(namespace: ApiServer) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "labels": MANAGED}}
    namespace.apply("configmaps", document)
    found = [one["metadata"]["name"] for one in namespace.list("configmaps", MANAGED)]
    assert found == ["mine"]
    assert json.dumps(namespace.list("configmaps", {"app": "none"})) == "[]"
