"""Settings of environments on clusters: the real stack files, and what is said about a wrong one."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pulumi.runtime
import pytest
from ruamel.yaml import YAML

from infra import kubeconfig
from infra.cluster import GcpSettings, KubernetesSettings
from infra.settings import read_settings
from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.stack.config import PROJECT
from mlops_sdk.stack.json_schema import config_json_schema
from tests.support.cluster_stacks import STACKS, written
from tests.support.declared import Declared

KUBECONFIG = """
apiVersion: v1
kind: Config
contexts:
  - {name: staging, context: {cluster: c, user: u}}
users:
  - {name: u, user: {token: a-secret-token}}
"""
REAL = sorted(STACKS.glob("Pulumi.*.yaml"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with a kubeconfig that has the context `staging`."""
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def read(stack: str, **changes: Any) -> Any:
    """The settings that the program reads from a stack file; None takes a key out."""
    values = {"masterKey": "x", **written(stack), **changes}
    config = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in values.items()
        if value is not None
    }
    pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack=stack, preview=False)
    pulumi.runtime.set_all_config(config, [f"{PROJECT}:masterKey", f"{PROJECT}:postgresUrl"])
    return read_settings()


def test_the_stack_files_of_this_project_are_those_of_two_clusters_and_an_example() -> None:
    names = {path.name for path in REAL}
    assert {"Pulumi.stg.yaml", "Pulumi.prd.yaml", "Pulumi.local.example.yaml"} <= names


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_every_real_stack_file_fits_the_schema_and_has_no_secret_in_plain_text(path: Path) -> None:
    document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(config_json_schema()).validate(document)
    for key in ("masterKey", "postgresUrl"):
        value = document["config"].get(f"{PROJECT}:{key}")
        assert value is None or set(value) == {"secure"}


def test_the_committed_schema_is_that_of_the_code() -> None:
    committed = json.loads((STACKS / "config.schema.json").read_text(encoding="utf-8"))
    assert committed == config_json_schema(), (
        "python -m mlops_sdk.stack.json_schema > stacks/config.schema.json"
    )


def test_the_program_reads_every_real_stack_file_of_a_cluster(home: Path) -> None:
    stg, prd = read("stg"), read("prd")
    assert isinstance(stg, KubernetesSettings)
    assert isinstance(prd, GcpSettings)
    assert (stg.namespace, prd.namespace) == ("recommender-stg", "recommender-prd")
    assert stg.config.backup.keep_days == 7
    assert prd.config.deletion_protection is True


def test_a_zero_stays_a_zero(home: Path) -> None:
    with pytest.raises(InputError, match="gatewayPort"):
        read("stg", gatewayPort=0)
    with pytest.raises(InputError, match=r"service\.replicas"):
        read("stg", service={"replicas": 0, "maxReplicas": 1, "cpu": "1", "memory": "1Gi"})


@pytest.mark.parametrize(
    ("stack", "changes", "message"),
    [
        ("stg", {"context": None}, "context"),
        ("stg", {"gatewayClass": None}, "gatewayClass"),
        ("stg", {"quota": {"cpu": "8", "memory": "16 GB", "storage": "1Gi", "pods": 3}}, r"quota\.memory"),
        ("stg", {"quota": {"cpu": "8"}}, r"quota\.pods"),
        ("stg", {"images": {"job": "r/job:latest", "service": "r/s:1"}}, r"images\.job.*names no one image"),
        ("stg", {"images": {"job": "r/job", "service": "r/s:1"}}, r"images\.job"),
        ("stg", {"namespace": "Not_A_Name"}, "namespace"),
        ("stg", {"databaseSize": None}, "databaseSize.*postgresUrl"),
        ("stg", {"backup": None}, "backup"),
        ("stg", {"messages": "pubsub"}, "messages"),
        ("prd", {"region": "europe"}, "region"),
        ("prd", {"project": "P"}, "project"),
        ("prd", {"databaseTier": None}, "databaseTier"),
        ("prd", {"deletionProtection": None}, "deletionProtection"),
        ("prd", {"backupsKept": 0}, "backupsKept"),
        ("prd", {"alertEmail": "nobody"}, "alertEmail"),
        ("prd", {"databaseAvailable": "always"}, "databaseAvailable"),
        ("prd", {"postgresUrl": "postgresql://a:hidden@h/d"}, "postgresUrl.*Cloud SQL"),
        ("prd", {"masterKey": None}, "masterKey"),
    ],
)
def test_a_fault_names_the_stack_the_key_and_quotes_no_value(
    home: Path, stack: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(stack, **changes)
    text = " ".join(str(caught.value).split())
    assert re.search(message, text), text
    assert f"stack config of {stack}" in text
    assert "hidden" not in text


def test_every_fault_is_told_at_once(home: Path) -> None:
    with pytest.raises(InputError) as caught:
        read("prd", region="x", databaseTier=None, service={"replicas": 1})
    for key in ("region", "databaseTier", "service.maxReplicas", "service.cpu"):
        assert key in str(caught.value)
    assert "docs/reference/stack-config.md" in str(caught.value)


def test_a_kubeconfig_that_is_not_there_is_named_with_the_command_that_sets_it(home: Path) -> None:
    with pytest.raises(NotFoundError, match="pulumi config set -s stg mlops-sdk:kubeconfig") as caught:
        read("stg", kubeconfig="nowhere/config")
    assert "nowhere/config" in str(caught.value)


def test_a_context_that_the_kubeconfig_lacks_is_told_with_those_it_has(home: Path) -> None:
    with pytest.raises(InputError, match="no context 'production'; it has: staging"):
        read("stg", context="production")


@pytest.mark.parametrize("text", ["contexts: [", "just text", ""])
def test_a_kubeconfig_that_is_none_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text + "\n# a-secret-token")
    with pytest.raises(MlopsError) as caught:
        kubeconfig.require_context(path, "staging", "stg")
    assert "a-secret-token" not in str(caught.value)


def test_the_kubeconfig_is_that_of_config_then_that_of_the_variable_then_kubectls(home: Path) -> None:
    root = Path("/project")
    assert kubeconfig.path_of("kube/config", root, {}) == Path("/project/kube/config")
    assert kubeconfig.path_of("~/k", root, {}) == home / "k"
    assert kubeconfig.path_of(None, root, {"KUBECONFIG": "/a:/b"}) == Path("/a")
    assert kubeconfig.path_of(None, root, {}) == home / ".kube" / "config"
