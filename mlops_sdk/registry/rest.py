"""MLflow's REST interface, as far as the SDK needs it: registered models and their artifacts.

Not MlflowClient: importing mlflow costs every process 110 MB and 1.5 s, and its retries hide a stopped server
for minutes. It must not know releases, caches or digests.
Protocol: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, UnreachableError

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# A server that accepts connections but is busy (one worker, a migration) is not unreachable.
_READ_TIMEOUT_S = 20.0
_OF_A_PROXY = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)


class MlflowRest:
    """A connection to one MLflow server, for use in a `with` statement of `connect`."""

    def __init__(self, uri: str, http: httpx.Client) -> None:
        self._uri = uri
        self._http = http

    def get(self, method: str, **parameters: str) -> dict[str, Any]:
        """Calls `method`, such as `model-versions/get`.

        Raises UnreachableError, AuthError, NotFoundError for what the server does not have, MlopsError with
        the server's own message for anything else.
        """
        body = self._body(self._request(f"{_API}/{method}", parameters))
        if not isinstance(body, dict):
            raise MlopsError(
                "the answer is not MLflow's", where=self._uri, remedy="is this an MLflow server?"
            )
        return body

    def send(self, verb: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Sends `body` as JSON to `path`, such as `webhooks`, with the HTTP method `verb`. Raises as `get`."""
        with _reaching(self._uri):
            response = self._http.request(verb, f"{_API}/{path}", json=body)
        _check(response, self._uri)
        answer: dict[str, Any] = self._body(response)
        return answer

    def upload(self, path: str, data: bytes) -> None:
        """Writes one proxied artifact file. Raises as `get`."""
        with _reaching(self._uri):
            response = self._http.put(f"{_ARTIFACTS}/{quote(path)}", content=data)
        _check(response, self._uri)

    def artifact_bytes(self, path: str) -> bytes:
        """One proxied artifact file. Raises as `get`."""
        return self._request(f"{_ARTIFACTS}/{quote(path)}", {}).content

    def artifact_text(self, path: str) -> str:
        """The text of one proxied artifact file. Raises as `get`."""
        return self._request(f"{_ARTIFACTS}/{quote(path)}", {}).text

    def download(self, path: str, folder: Path) -> None:
        """Writes all files under the proxied artifact folder `path` into `folder`. Raises as `get`."""
        for name, is_folder in self._list(path):
            target = folder / name
            if is_folder:
                target.mkdir()
                self.download(f"{path}/{name}", target)
            else:
                self._download_file(f"{path}/{name}", target)

    def _list(self, path: str) -> Iterator[tuple[str, bool]]:
        listing = self._body(self._request(_ARTIFACTS, {"path": path}))
        for entry in listing.get("files", []):
            name = PurePosixPath(entry["path"]).name
            if name in ("", ".", ".."):
                raise MlopsError(f"an artifact named {entry['path']!r}", where=self._uri)
            yield name, bool(entry.get("is_dir"))

    def _download_file(self, path: str, target: Path) -> None:
        with _reaching(self._uri), self._http.stream("GET", f"{_ARTIFACTS}/{quote(path)}") as response:
            if response.is_error:
                response.read()
            _check(response, self._uri)
            with target.open("wb") as stream:
                for chunk in response.iter_bytes():
                    stream.write(chunk)

    def _request(self, path: str, parameters: dict[str, str]) -> httpx.Response:
        with _reaching(self._uri):
            response = self._http.get(path, params=parameters)
        _check(response, self._uri)
        return response

    def _body(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise MlopsError(
                "the answer is not MLflow's", where=self._uri, remedy="is this an MLflow server?"
            ) from error


@contextmanager
def connect(uri: str, *, connect_timeout_s: float) -> Iterator[MlflowRest]:
    """A connection to the MLflow server at `uri`. Raises InputError for an address that is not HTTP."""
    host = _host(uri)
    timeout = httpx.Timeout(_READ_TIMEOUT_S, connect=connect_timeout_s)
    # A proxy that is set for the network's sake must not be asked for this machine's own servers.
    trusts_proxies = not _is_loopback(host)
    with httpx.Client(base_url=uri.rstrip("/"), timeout=timeout, trust_env=trusts_proxies) as http:
        yield MlflowRest(uri, http)


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    try:
        yield
    except httpx.RequestError as error:
        raise UnreachableError(
            f"MLflow does not answer ({type(error).__name__})",
            where=uri,
            remedy="start it (`mlops up ENV`), or check the address: registry_uri in [tool.mlops]",
        ) from error


def _check(response: httpx.Response, uri: str) -> None:
    if response.is_success:
        return
    status = response.status_code
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AuthError(f"MLflow refused the request ({status})", where=uri)
    if status in _OF_A_PROXY:
        raise UnreachableError(f"MLflow is not available ({status})", where=uri, remedy="is it running?")
    code, message = _fault(response)
    # "Not found" is said of a model only on MLflow's own word, never because something else answered 404.
    if code == "RESOURCE_DOES_NOT_EXIST" or (
        code == "INVALID_PARAMETER_VALUE" and message.startswith("Registered model alias")
    ):
        raise NotFoundError(message, where=uri)
    remedy = "" if code else "is this an MLflow server?"
    raise MlopsError(f"MLflow answered {status}: {message}", where=uri, remedy=remedy)


def _fault(response: httpx.Response) -> tuple[str, str]:
    """MLflow's error code and message; no code if the answer is not MLflow's."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    return str(body.get("error_code", "")), str(body.get("message", response.reason_phrase))


def _host(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return parts.hostname
    except ValueError:
        pass  # a port that is no number: the same fault
    # Not quoted whole: an address may carry a password.
    raise InputError(
        f"{uri.rpartition('@')[2]!r} is not the address of an MLflow server",
        remedy="models come from an MLflow server only: http://HOST:PORT or https://HOST",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
