"""Objects of any kind at a real API server: discovery, server-side apply, waiting, what pods say."""

import base64
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import orjson

from mlops_sdk.cluster import kubeconfig
from tests.standins.kubernetes.readiness import NotReadyError, ready

Object = dict[str, Any]

NOTE = "pulumi.com/"
_TIMEOUT_S = 30.0
_WAIT_S = 600.0
_LONGEST_PAUSE_S = 1.0
_LAST_LINES = 10


class ApiError(Exception):
    """The API server's refusal, in its own words."""

    def __init__(self, code: int, status: Object, what: str) -> None:
        self.code = code
        self.causes: list[Object] = (status.get("details") or {}).get("causes") or []
        hint = f'\n  set annotation {NOTE}patchForce: "true" to take the fields over' if code == 409 else ""
        reason = status.get("reason") or code
        super().__init__(f"{what}: {reason}: {status.get('message', status)}{hint}")


def note(obj: Object, key: str) -> str | None:
    """The value of one of Pulumi's annotations."""
    found: str | None = ((obj.get("metadata") or {}).get("annotations") or {}).get(NOTE + key)
    return found


class Cluster:
    """One API server, by a kubeconfig and one of its contexts."""

    def __init__(self, config: str | None, context: str | None, namespace: str | None) -> None:
        path = kubeconfig.find_kubeconfig(Path(config) if config else None, os.environ)
        access = kubeconfig.load(path, context or _current_context(path))
        headers = {"Authorization": f"Bearer {access.token.get_secret_value()}"} if access.token else {}
        self._http = httpx.Client(
            base_url=access.server, verify=access.trust, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        )
        self.namespace = namespace or "default"
        self.cancelled = threading.Event()
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """Ask the API server. Raises ApiError."""
        content = None if body is None else orjson.dumps(body)
        try:
            answer = self._http.request(
                method, path, params=query, content=content, headers={"Content-Type": content_type}
            )
        except httpx.TransportError as error:
            raise ApiError(
                0, {"message": f"{self._http.base_url} does not answer: {error}"}, method
            ) from error
        try:
            document: Object = answer.json()
        except ValueError:
            document = {"message": answer.text[:500]}
        if answer.is_error:
            raise ApiError(answer.status_code, document, f"{method} {path}")
        return document

    def find(self, api_version: str, kind: str) -> tuple[str, bool]:
        """(plural, is namespaced), by discovery. Asked again on a miss, since a definition may be new."""
        if kind not in self._kinds.get(api_version, {}):
            listing = self.call("GET", _base(api_version))["resources"]
            self._kinds[api_version] = {
                entry["kind"]: (entry["name"], entry["namespaced"])
                for entry in listing
                if "/" not in entry["name"]
            }
        if kind not in self._kinds[api_version]:
            raise ApiError(
                404, {"reason": "NoSuchKind", "message": f"no kind {kind} in {api_version}"}, "discovery"
            )
        return self._kinds[api_version][kind]

    def path(self, obj: Object) -> str:
        """The address of an object."""
        plural, is_namespaced = self.find(obj["apiVersion"], obj["kind"])
        base, name = _base(obj["apiVersion"]), obj["metadata"]["name"]
        if not is_namespaced:
            return f"{base}/{plural}/{name}"
        return f"{base}/namespaces/{obj['metadata'].get('namespace') or self.namespace}/{plural}/{name}"

    def get(self, obj: Object) -> Object | None:
        """The object as it is, or None."""
        try:
            return self.call("GET", self.path(obj))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def apply(self, obj: Object, urn: str, *, dry: bool = False) -> Object:
        """Server-side apply with strict validation; `dry` only asks whether the server would."""
        query = {
            "fieldManager": "pulumi-kubernetes-" + hashlib.sha256(urn.encode()).hexdigest()[:8],
            "fieldValidation": "Strict",
            "force": str(note(obj, "patchForce") == "true").lower(),
            **({"dryRun": "All"} if dry else {}),
        }
        body = _encoded(obj)
        try:
            return self.call("PATCH", self.path(body), query, body, "application/apply-patch+yaml")
        except ApiError as error:
            if not (dry and error.code == 404 and "namespaces" in str(error)):
                raise
        # The namespace is part of this same preview: the object's form is checked in another one.
        body = {**body, "metadata": {**body["metadata"], "namespace": "default"}}
        return self.call("PATCH", self.path(body), query, body, "application/apply-patch+yaml")

    def wait(self, obj: Object, timeout_s: float) -> Object:
        """Return the object when it is ready. Raises NotReadyError with what its pods say, also when cancelled."""
        if note(obj, "skipAwait") == "true":
            return obj
        deadline = time.monotonic() + float(note(obj, "timeoutSeconds") or timeout_s or _WAIT_S)
        pause = 0.1
        while True:
            try:
                is_ready, missing = ready(obj)
            except NotReadyError as error:
                raise NotReadyError(f"{error}{self.why(obj)}") from error
            if is_ready:
                return obj
            if time.monotonic() > deadline:
                raise NotReadyError(f"timed out waiting: {missing}{self.why(obj)}")
            if self.cancelled.wait(pause):
                raise NotReadyError(f"cancelled while waiting: {missing}")
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            found = self.get(obj)
            if found is None:
                raise NotReadyError("it was deleted while being awaited")
            obj = found

    def await_gone(self, obj: Object, uid: str, timeout_s: float) -> None:
        """Return when the object is gone. Raises NotReadyError with its finalizers."""
        deadline, pause = time.monotonic() + float(note(obj, "timeoutSeconds") or timeout_s or _WAIT_S), 0.1
        while (now := self.get(obj)) is not None and now["metadata"]["uid"] == uid:
            if time.monotonic() > deadline:
                raise NotReadyError(f"it is still there; finalizers: {now['metadata'].get('finalizers')}")
            if self.cancelled.wait(pause):
                raise NotReadyError("cancelled while it was being deleted")
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def why(self, obj: Object) -> str:
        """What the pods of a workload say, and the last lines of a failed one's log, for an error's text."""
        labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return ""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        base = f"/api/v1/namespaces/{obj['metadata']['namespace']}/pods"
        lines: list[str] = []
        for pod in self.call("GET", base, {"labelSelector": selector})["items"]:
            lines += _words(pod)
            lines += self._log(f"{base}/{pod['metadata']['name']}/log", pod)
        return "".join(f"\n  {line}" for line in dict.fromkeys(lines))

    def _log(self, path: str, pod: Object) -> list[str]:
        containers = (pod.get("status") or {}).get("containerStatuses") or []
        if not any(state.get("restartCount") or state["state"].get("terminated") for state in containers):
            return []
        for previous in ("false", "true"):
            try:
                answer = self._http.get(path, params={"tailLines": str(_LAST_LINES), "previous": previous})
            except httpx.TransportError:
                return []
            if answer.is_success and answer.text.strip():
                return [f"log: {line}" for line in answer.text.strip().splitlines()]
        return []


def _words(pod: Object) -> list[str]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    lines = [
        f"pod {name}: {entry['type']}: {entry.get('message') or entry.get('reason')}"
        for entry in status.get("conditions") or []
        if entry["status"] == "False" and (entry.get("message") or entry.get("reason"))
    ]
    for container in status.get("containerStatuses") or []:
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            for found in (state.get("waiting"), state.get("terminated")):
                if found and found.get("reason") != "Completed":
                    text = f"{found.get('reason')} {found.get('message', '')}".strip()
                    lines.append(f"pod {name}: container {container['name']}: {text}")
    return lines


def _encoded(obj: Object) -> Object:
    """A Secret with its text in base64, as the API server keeps it."""
    if obj["kind"] != "Secret" or not obj.get("stringData"):
        return obj
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in obj["stringData"].items()}
    kept = {key: value for key, value in obj.items() if key != "stringData"}
    return {**kept, "data": {**(obj.get("data") or {}), **encoded}}


def _base(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _current_context(path: Path) -> str:
    from ruamel.yaml import YAML

    return str(YAML(typ="safe").load(path.read_text(encoding="utf-8")).get("current-context"))
