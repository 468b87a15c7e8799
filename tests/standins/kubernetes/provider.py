"""The plugin's protocol: check, diff, create, read, update and delete of any object of Kubernetes.

Source: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto. It subclasses the servicer and not
`Provider`, because the latter drops the old inputs of a diff.
"""

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.provider.experimental import server
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2, status_pb2
from pulumi.runtime.rpc import UNKNOWN

from mlops_sdk.errors import MlopsError
from tests.standins.kubernetes.cluster import ApiError, Cluster, Object, note
from tests.standins.kubernetes.readiness import NotReadyError
from tests.standins.kubernetes.values import changed, drifted, marshal, plain, plain_map, unknown

VERSION = "4.34.2"
_OPTIONS = {"kubeconfig", "context", "namespace", "version", "enableServerSideApply"}
_IMMUTABLE = re.compile(r"immutable|cannot change|may not (be )?change|updates to .* forbidden", re.I | re.S)
_IDENTITY = ("kind", "metadata.name", "metadata.namespace")
_EXPECTED = (ApiError, NotReadyError, MlopsError)


class KubernetesProvider(server.ProviderServicer):
    """The servicer. `cluster` is None until it is configured, and stays so while the kubeconfig is unknown."""

    cluster: ClassVar[Cluster | None] = None

    async def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002 - the protocol's names
        """Every wait ends at once, with an error that says so."""
        if self.cluster:
            self.cluster.cancelled.set()
        return empty_pb2.Empty()

    async def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """No schema: programs use the SDK's own."""
        return proto.GetSchemaResponse(schema=f'{{"name":"kubernetes","version":"{VERSION}"}}')

    async def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Options that this stand-in does not know are refused, not ignored."""
        strange = sorted(set(plain_map(request.news)) - _OPTIONS)
        failures = [
            proto.CheckFailure(property=name, reason="the stand-in does not know this option")
            for name in strange
        ]
        return proto.CheckResponse(inputs=request.news, failures=failures)

    async def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Another cluster or namespace is a change, never a replacement."""
        same = request.olds == request.news
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_NONE if same else proto.DiffResponse.DIFF_SOME
        )

    async def Configure(self, request: Any, context: Any) -> Any:
        """Read the kubeconfig and connect to nothing."""
        options = plain_map(request.args)
        if not unknown(options):
            try:
                found = Cluster(options.get("kubeconfig"), options.get("context"), options.get("namespace"))
            except MlopsError as error:
                await _fail(context, error)
            type(self).cluster = found
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """A name is wanted; the namespace is filled in; a kind that the cluster lacks is found here, at preview."""
        news = PropertyValue.unmarshal_map(request.news)
        obj = {key: plain(value) for key, value in news.items()}
        obj["metadata"] = dict(obj.get("metadata") or {})
        failures = []
        if "name" not in obj["metadata"]:
            failures.append(
                proto.CheckFailure(property="metadata.name", reason="the stand-in makes no names")
            )
        if self.cluster and not unknown(obj.get("kind")):
            try:
                _, is_namespaced = await asyncio.to_thread(self.cluster.find, obj["apiVersion"], obj["kind"])
                if is_namespaced:
                    obj["metadata"].setdefault("namespace", self.cluster.namespace)
            except ApiError as error:
                failures.append(proto.CheckFailure(property="kind", reason=str(error)))
        return proto.CheckResponse(inputs=marshal(obj, news), failures=failures)

    async def Diff(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """What the inputs differ in; the server is asked whether it can be changed in place."""
        old, new = plain_map(request.old_inputs), plain_map(request.news)
        ignored = set(request.ignoreChanges)
        found = {path: kind for path, kind in changed(old, new) if not _is_below(path, ignored)}
        if not found:
            return proto.DiffResponse(changes=proto.DiffResponse.DIFF_NONE, hasDetailedDiff=True)
        replacing = {path for path in found if path in _IDENTITY}
        if not replacing and self.cluster and not unknown(new):
            replacing = await self._immutable(new, request.urn, found)
        same_place = all(_at(old, path) == _at(new, path) for path in _IDENTITY)
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME,
            replaces=sorted(replacing),
            diffs=sorted({re.split(r"[.\[]", path)[0] for path in found}),
            detailedDiff={
                path: proto.PropertyDiff(
                    kind=getattr(proto.PropertyDiff, kind + ("_REPLACE" if path in replacing else "")),
                    inputDiff=True,
                )
                for path, kind in found.items()
            },
            hasDetailedDiff=True,
            deleteBeforeReplace=bool(replacing) and same_place,
        )

    async def Create(self, request: Any, context: Any) -> Any:
        """Apply and wait until it is ready; at preview only ask the server whether it would."""
        obj, outputs = await self._put(request, request.properties, context)
        return proto.CreateResponse(id="" if request.preview else _id(obj), properties=outputs)

    async def Update(self, request: Any, context: Any) -> Any:
        """As `Create`."""
        _, outputs = await self._put(request, request.news, context)
        return proto.UpdateResponse(properties=outputs)

    async def Read(self, request: Any, context: Any) -> Any:
        """The object as it is; gone only on the server's word."""
        inputs = PropertyValue.unmarshal_map(request.inputs)
        state = plain_map(request.properties)
        wanted = _named(request, state)
        live = await _tried(context, lambda: _require(self.cluster).get(wanted))
        if live is None:
            return proto.ReadResponse(id="")
        live = _without_managers(live)
        found = _inputs_now({key: plain(value) for key, value in inputs.items()}, state, live)
        return proto.ReadResponse(
            id=_id(live), properties=marshal(live, inputs), inputs=marshal(found, inputs)
        )

    async def Delete(self, request: Any, context: Any) -> Any:
        """Delete in the foreground and wait until it is gone; what is gone already is fine."""
        obj = plain_map(request.properties)
        await _tried(context, lambda: _delete(_require(self.cluster), obj, request.timeout))
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        """No function is known."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.tok} is not in this stand-in")

    async def Construct(self, request: Any, context: Any) -> Any:
        """No component (Helm, YAML, kustomize) is known."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.type} is not in this stand-in")

    async def _immutable(self, new: Object, urn: str, found: dict[str, str]) -> set[str]:
        try:
            await asyncio.to_thread(_require(self.cluster).apply, new, urn, dry=True)
        except ApiError as error:
            fields = [c["field"] for c in error.causes if _IMMUTABLE.search(c.get("message", ""))]
            return {
                path
                for path in found
                for field in fields
                if path.startswith(field.split("[")[0]) or field.startswith(path)
            }
        return set()

    async def _put(self, request: Any, properties: Any, context: Any) -> tuple[Object, Any]:
        inputs = PropertyValue.unmarshal_map(properties)
        obj = {key: plain(value) for key, value in inputs.items()}
        cluster = self.cluster
        if request.preview:
            if cluster and not unknown(obj):
                await _tried(context, lambda: _ask(_require(cluster), obj, request.urn))
            return obj, marshal(_previewed(obj), inputs)
        live = await _tried(context, lambda: _require(cluster).apply(obj, request.urn))
        try:
            live = await asyncio.to_thread(_require(cluster).wait, live, request.timeout)
        except (NotReadyError, ApiError) as error:
            await _half_made(context, live, inputs, f"{obj['kind']} {_id(live)} is not ready: {error}")
        return live, marshal(_without_managers(live), inputs)


async def _tried(context: Any, work: Callable[[], Any]) -> Any:
    try:
        return await asyncio.to_thread(work)
    except _EXPECTED as error:
        await _fail(context, error)


async def _fail(context: Any, error: Exception) -> NoReturn:
    await context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError("abort returned") from error


async def _half_made(context: Any, obj: Object, inputs: Any, reason: str) -> NoReturn:
    """The engine keeps the object in its state with the reason, and tries again on the next update."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=_id(obj),
        properties=marshal(_without_managers(obj), inputs),
        reasons=[reason],
        inputs=PropertyValue.marshal_map(inputs),
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.add().Pack(detail)
    answer = grpc.Status()
    answer.code, answer.details = grpc.StatusCode.UNKNOWN, reason
    answer.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort_with_status(answer)
    raise AssertionError("abort returned")


def _ask(cluster: Cluster, obj: Object, urn: str) -> None:
    cluster.apply(obj, urn, dry=True)


def _delete(cluster: Cluster, obj: Object, timeout_s: float) -> None:
    live = cluster.get(obj)
    if live is None:
        return
    uid = live["metadata"]["uid"]
    propagation = (note(obj, "deletionPropagationPolicy") or "foreground").capitalize()
    try:
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        cluster.call("DELETE", cluster.path(obj), None, body)
    except ApiError as error:
        if error.code != 404:
            raise
    if note(obj, "skipAwait") != "true":
        cluster.await_gone(obj, uid, timeout_s)


def _require(cluster: Cluster | None) -> Cluster:
    if cluster is None:
        raise ApiError(0, {"message": "the kubeconfig is not known yet"}, "Configure")
    return cluster


def _named(request: Any, state: Object) -> Object:
    """The object that a request to read means: from its state, or from its type and id at an import."""
    version, kind = request.urn.split("::")[2].split("$")[-1].split(":")[1:]
    namespace, _, name = request.id.rpartition("/")
    return {
        "apiVersion": state.get("apiVersion") or version.removeprefix("core/"),
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
    }


def _inputs_now(inputs: Object, state: Object, live: Object) -> Object:
    """The inputs as the cluster has them; at an import all that a person could have written."""
    if not inputs:
        kept = ("name", "namespace", "labels", "annotations")
        metadata = {key: value for key, value in live["metadata"].items() if key in kept}
        return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}
    text = inputs.get("stringData")
    if live["kind"] != "Secret" or not text:
        found: Object = drifted(inputs, state, live)
        return found
    now = dict(text)
    for key in text:
        encoded = (live.get("data") or {}).get(key)
        if encoded != (state.get("data") or {}).get(key):
            now[key] = base64.b64decode(encoded or "").decode(errors="replace")
    rest = {key: value for key, value in inputs.items() if key != "stringData"}
    return {**drifted(rest, state, live), "stringData": now}


def _previewed(obj: Object) -> Object:
    """Outputs at preview: the inputs, and unknown for what only the server can say."""
    server_made = dict.fromkeys(("uid", "resourceVersion", "creationTimestamp"), UNKNOWN)
    found = {**obj, "metadata": {**obj["metadata"], **server_made}}
    if obj["kind"] == "Service" and isinstance(obj.get("spec"), dict):
        found["spec"] = {"clusterIP": UNKNOWN, **obj["spec"]}
    return found


def _without_managers(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _id(obj: Object) -> str:
    return "/".join(filter(None, [obj["metadata"].get("namespace"), obj["metadata"]["name"]]))


def _at(obj: Object, path: str) -> Any:
    found: Any = obj
    for part in path.split("."):
        found = (found or {}).get(part)
    return found


def _is_below(path: str, ignored: set[str]) -> bool:
    return any(path == other or path.startswith((f"{other}.", f"{other}[")) for other in ignored)
