"""A kubeconfig and what can be wrong with it: read without asking a server."""

import stat
from pathlib import Path

import pytest

from mlops_sdk.cluster.kubeconfig import find_kubeconfig, in_cluster, load
from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError

_FILE = """
apiVersion: v1
kind: Config
current-context: other
clusters:
- {name: c, cluster: {server: "https://api.example:6443/"}}
contexts:
- {name: stg, context: {cluster: c, user: u}}
- {name: other, context: {cluster: c, user: none}}
- {name: empty, context: {}}
users:
- {name: u, user: USER}
"""


def _write(folder: Path, user: str = "{token: abc}") -> Path:
    path = folder / "config"
    path.write_text(_FILE.replace("USER", user), encoding="utf-8")
    return path


def test_a_context_says_where_to_ask_and_what_to_show(tmp_path: Path) -> None:
    access = load(_write(tmp_path), "stg")
    assert access.server == "https://api.example:6443"
    assert access.token is not None
    assert access.token.get_secret_value() == "abc"
    assert "abc" not in repr(access)


def test_a_token_may_be_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n", encoding="utf-8")
    access = load(_write(tmp_path, "{tokenFile: token}"), "stg")
    assert access.token is not None
    assert access.token.get_secret_value() == "from a file"


def test_a_credential_plugin_gives_the_token(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text('#!/bin/sh\necho "{\\"status\\": {\\"token\\": \\"$WHO\\"}}"\n', encoding="utf-8")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = f"{{exec: {{command: {plugin}, env: [{{name: WHO, value: ann}}], apiVersion: v1}}}}"
    access = load(_write(tmp_path, user), "stg")
    assert access.token is not None
    assert access.token.get_secret_value() == "ann"


@pytest.mark.parametrize(
    ("user", "context", "error", "words"),
    [
        ("{token: abc}", "prd", NotFoundError, "no context 'prd'; it has: empty, other, stg"),
        ("{token: abc}", "empty", InputError, "names no cluster with a server"),
        ("{exec: {command: no-such-plugin-here}}", "stg", AuthError, "no-such-plugin-here did not run"),
        ("{exec: {command: echo, args: [secret-output]}}", "stg", AuthError, "echo gave no token"),
        ("{tokenFile: nowhere}", "stg", NotFoundError, "names a file that is not there"),
        ("{client-certificate-data: YWJj, client-key-data: YWJj}", "stg", InputError, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(
    tmp_path: Path, user: str, context: str, error: type[MlopsError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load(_write(tmp_path, user), context)
    assert str(tmp_path / "config") in str(caught.value)
    assert "secret-output" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "just text", "{}"])
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="kubeconfig"):
        load(path, "stg")


def test_a_missing_kubeconfig_names_both_ways_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such kubeconfig") as caught:
        find_kubeconfig(None, {"KUBECONFIG": str(tmp_path / "gone")})
    assert "mlops-sdk:kubeconfig" in caught.value.remedy
    assert "KUBECONFIG" in caught.value.remedy


def test_outside_of_a_cluster_there_is_no_service_account() -> None:
    assert in_cluster({}) is None
