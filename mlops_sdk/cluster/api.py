"""The API server of a cluster, as far as the SDK needs it: objects of one namespace, logs, and asking a service.

Not the package `kubernetes`: see `kubeconfig`. It must not know what an object means.
Protocol: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from mlops_sdk.cluster.kubeconfig import Access
from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError

if TYPE_CHECKING:
    import httpx  # else where it is used: a command of an environment that is on no cluster does without

Object = dict[str, Any]

FIELD_MANAGER = "mlops-sdk"
_TIMEOUT_S = 20.0
_CONNECT_TIMEOUT_S = 5.0
_STRANGE_FIELD = "field not declared in schema"

_COLLECTIONS = {
    "configmaps": "/api/v1",
    "secrets": "/api/v1",
    "services": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "resourcequotas": "/api/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "gateways": "/apis/gateway.networking.k8s.io/v1",
}


class ConflictError(MlopsError):
    """The object was changed by somebody else since it was read."""


class ApiServer:
    """One namespace of a cluster. Raises UnreachableError, AuthError, NotFoundError, PolicyError, InputError.

    Each method can be repeated. Use it in a `with` statement, or call `close`.
    """

    def __init__(self, access: Access, namespace: str) -> None:
        import httpx

        self.access = access
        self.namespace = namespace
        headers = {"Authorization": f"Bearer {access.token.get_secret_value()}"} if access.token else {}
        self._http = httpx.Client(
            base_url=access.server,
            verify=access.trust,
            headers=headers,
            timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            # A proxy of this shell is for the internet; a cluster's address is in the kubeconfig.
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def namespace_object(self) -> Object | None:
        """The namespace itself, or None where it does not exist."""
        return self._found(f"/api/v1/namespaces/{self.namespace}")

    def get(self, collection: str, name: str) -> Object | None:
        """One object of the namespace, or None where it does not exist."""
        return self._found(self._path(collection, name))

    def require(self, collection: str, name: str, remedy: str = "") -> Object:
        """One object of the namespace. Raises NotFoundError with `remedy`."""
        found = self.get(collection, name)
        if found is None:
            raise NotFoundError(
                f"there is no {collection.removesuffix('s')} {name!r}", where=self.where, remedy=remedy
            )
        return found

    def list(self, collection: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Every object of a collection that has these labels."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        parameters = {"labelSelector": selector} if selector else {}
        answer = self._call("GET", self._path(collection), parameters=parameters)
        items: list[Object] = answer.json().get("items", [])
        return items

    def apply(self, collection: str, document: Object) -> Object:
        """Create an object or set the fields that `document` names (server-side apply, unknown fields refused)."""
        path = self._path(collection, document["metadata"]["name"])
        parameters = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
        answer: Object = self._call(
            "PATCH", path, document, parameters, content_type="application/apply-patch+yaml"
        ).json()
        return answer

    def merge(self, collection: str, name: str, patch: Object) -> Object:
        """Change fields of an object (JSON merge patch; null removes one).

        With `metadata.resourceVersion` in the patch it raises ConflictError where the object was changed since.
        """
        path = self._path(collection, name)
        parameters = {"fieldManager": FIELD_MANAGER}
        answer: Object = self._call(
            "PATCH", path, patch, parameters, content_type="application/merge-patch+json"
        ).json()
        return answer

    def log(self, pod: str, container: str | None = None, *, last: int = 20, previous: bool = False) -> str:
        """The last lines of a pod's log; `previous` is the container that was ended before."""
        parameters = {"tailLines": str(last), "previous": str(previous).lower()}
        if container:
            parameters["container"] = container
        return self._call("GET", f"{self._path('pods', pod)}/log", parameters=parameters).text

    def ask_service(
        self, service: str, port: int, path: str, *, headers: Mapping[str, str] | None = None
    ) -> "httpx.Response":
        """GET `path` of a service by the API server's proxy, whatever its status; needs no way into the cluster."""
        address = f"{self._path('services', f'{service}:{port}')}/proxy/{path.lstrip('/')}"
        with self._reaching():
            return self._http.get(address, headers=dict(headers or {}))

    @property
    def where(self) -> str:
        """Context and namespace, for messages."""
        return f"context {self.access.context}, namespace {self.namespace}"

    def _path(self, collection: str, name: str = "") -> str:
        base = f"{_COLLECTIONS[collection]}/namespaces/{self.namespace}/{collection}"
        return f"{base}/{name}" if name else base

    def _found(self, path: str) -> Object | None:
        try:
            answer: Object = self._call("GET", path).json()
        except NotFoundError:
            return None
        return answer

    def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> "httpx.Response":
        content = None if body is None else json.dumps(body)
        with self._reaching():
            answer = self._http.request(
                method, path, params=parameters, content=content, headers={"Content-Type": content_type}
            )
        if answer.is_error:
            raise _error(answer, f"{self.where}: {method} {path}")
        return answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            raise UnreachableError(
                f"the cluster does not answer: {type(error).__name__}",
                where=f"{self.access.server} (context {self.access.context})",
                remedy=f"is it running, and is {self.access.file} up to date?",
            ) from error


def _error(answer: "httpx.Response", where: str) -> MlopsError:
    """The error for a status of the API server, in its own words. They never hold an object's content."""
    try:
        message = str(answer.json().get("message", answer.reason_phrase))
    except ValueError:
        message = answer.reason_phrase
    match answer.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return AuthError(message, where=where, remedy="log in to the cluster again")
        case HTTPStatus.FORBIDDEN if "exceeded quota" in message:
            return PolicyError(message, where=where, remedy="raise `mlops-sdk:quota` in stack config")
        case HTTPStatus.FORBIDDEN:
            return AuthError(message, where=where, remedy="ask for the rights that the message names")
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(message, where=where)
        case HTTPStatus.CONFLICT:
            return ConflictError(message, where=where)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return InputError(message, where=where)
    if _STRANGE_FIELD in message:  # server-side apply answers 500 to it
        return InputError(message, where=where)
    return MlopsError(message, where=where)
