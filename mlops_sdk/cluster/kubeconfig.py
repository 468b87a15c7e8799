"""A kubeconfig file: which server a context names, and what to show it.

Not the loader of the package `kubernetes`: importing it costs every command one to three seconds. Must not connect.
Form: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/, credential plugins:
https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, NotFoundError

_PLUGIN_TIMEOUT_S = 60.0
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """One context, ready to be asked: address of the API server, how to trust it, what to say to it."""

    file: str
    context: str
    server: str
    trust: ssl.SSLContext
    token: SecretStr | None = None


def find_kubeconfig(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The file to read: the given one, else KUBECONFIG, else ~/.kube/config. Raises NotFoundError naming all three."""
    from_variable = environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = given or (Path(from_variable) if from_variable else Path.home() / ".kube" / "config")
    if not path.is_file():
        raise NotFoundError(
            "there is no such kubeconfig",
            where=str(path),
            remedy="name one by `mlops-sdk:kubeconfig` in stack config or by the variable KUBECONFIG",
        )
    return path


def load(path: Path, context: str) -> Access:
    """What `context` of a kubeconfig says; a credential plugin is run where it names one.

    Raises InputError for a file that is no kubeconfig, NotFoundError for a context that it lacks (with those there
    are), AuthError where the plugin gives no token.
    """
    document = _read(path)
    contexts = _named(document, "contexts", "context")
    if context not in contexts:
        there = ", ".join(sorted(contexts)) or "none"
        raise NotFoundError(
            f"the kubeconfig has no context {context!r}; it has: {there}",
            where=str(path),
            remedy="set `mlops-sdk:context` in stack config to the cluster's context",
        )
    chosen = contexts[context]
    cluster = _named(document, "clusters", "cluster").get(str(chosen.get("cluster")), {})
    user = _named(document, "users", "user").get(str(chosen.get("user")), {})
    server = cluster.get("server")
    if not isinstance(server, str):
        raise InputError(f"context {context!r} names no cluster with a server", where=str(path))
    return Access(
        file=str(path),
        context=context,
        server=server.rstrip("/"),
        trust=_trust(path, cluster, user),
        token=_token(path, user),
    )


def in_cluster(environ: Mapping[str, str] = os.environ) -> Access | None:
    """The access of a pod by its service account, or None outside of a cluster."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token = _IN_CLUSTER / "token"
    if not host or not token.exists():
        return None
    trust = ssl.create_default_context(cafile=str(_IN_CLUSTER / "ca.crt"))
    secret = SecretStr(token.read_text(encoding="utf-8").strip())
    return Access(str(_IN_CLUSTER), "in-cluster", f"https://{host}:{port}", trust, secret)


def _read(path: Path) -> dict[str, Any]:
    # Here, because every command asks whether it is in a cluster, and few are.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        # The parser's own words may quote a line with a credential.
        raise InputError("the kubeconfig is no YAML", where=str(path)) from error
    if not isinstance(document, dict) or not isinstance(document.get("contexts"), list):
        raise InputError("the file is no kubeconfig: it has no contexts", where=str(path))
    return document


def _named(document: dict[str, Any], group: str, kind: str) -> dict[str, dict[str, Any]]:
    found = document.get(group) or []
    return {entry["name"]: entry.get(kind) or {} for entry in found if "name" in entry}


def _trust(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _content(path, cluster, "certificate-authority")
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = _content(path, user, "client-certificate"), _content(path, user, "client-key")
        if certificate and key:
            _show(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise InputError("a certificate or key of the kubeconfig cannot be read", where=str(path)) from error
    return context


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL takes a client's key from files only; they are gone when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder, "client.pem")
        both.touch(mode=0o600)
        both.write_bytes(certificate + b"\n" + key)
        context.load_cert_chain(both)


def _content(path: Path, entry: dict[str, Any], key: str) -> bytes | None:
    """The bytes of `KEY-data` (base64), or of the file that `KEY` names, relative to the kubeconfig."""
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    if not entry.get(key):
        return None
    file = path.parent / str(entry[key])
    if not file.exists():
        raise NotFoundError(f"{key} names a file that is not there: {file}", where=str(path))
    return file.read_bytes()


def _token(path: Path, user: dict[str, Any]) -> SecretStr | None:
    if user.get("token"):
        return SecretStr(user["token"])
    if user.get("tokenFile"):
        content = _content(path, {"tokenFile": user["tokenFile"]}, "tokenFile")
        return SecretStr((content or b"").decode().strip())
    return _from_plugin(path, user["exec"]) if user.get("exec") else None


def _from_plugin(path: Path, plugin: dict[str, Any]) -> SecretStr:
    command = [str(plugin.get("command")), *map(str, plugin.get("args") or [])]
    variables = {entry["name"]: entry["value"] for entry in plugin.get("env") or []}
    request = {
        "apiVersion": plugin.get("apiVersion"),
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    environ = {**os.environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(request)}
    remedy = f"install it or log in again: {plugin.get('installHint', command[0])}"
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=_PLUGIN_TIMEOUT_S, check=False
        )
        return SecretStr(json.loads(done.stdout)["status"]["token"])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AuthError(
            f"the credential plugin {command[0]} did not run", where=str(path), remedy=remedy
        ) from error
    except (ValueError, KeyError, TypeError):
        # What it printed may hold a token.
        raise AuthError(
            f"the credential plugin {command[0]} gave no token", where=str(path), remedy=remedy
        ) from None
