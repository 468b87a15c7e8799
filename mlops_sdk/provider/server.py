"""The provider plugin: Pulumi's resource protocol, in front of the handlers.

A servicer of its own instead of `pulumi.provider.experimental.provider.Provider`, which hides the old inputs
from diff and shows every error with a traceback. Work runs in threads, so that resources go on side by side.
Must not know what a resource does.
"""

import asyncio
import importlib
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.provider.experimental import server
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2, status_pb2

from mlops_sdk import __version__
from mlops_sdk.errors import MlopsError
from mlops_sdk.provider.guard import refuse_if_late
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain, changed, is_unknown, paths, plain, wrapped

T = TypeVar("T")
Properties = dict[str, PropertyValue]

HANDLERS = {
    "mlops:index:EnvFile": "env_file:EnvFileHandler",
    "mlops:index:Process": "process:ProcessHandler",
    "mlops:index:Database": "database:DatabaseHandler",
    "mlops:index:Queue": "queue:QueueHandler",
    "mlops:index:WorkPool": "work_pool:WorkPoolHandler",
    "mlops:index:Flow": "flow:FlowHandler",
    "mlops:index:Route": "route:RouteHandler",
    "mlops:index:ReleaseState": "release_state:ReleaseStateHandler",
    "mlops:index:Live": "live:LiveHandler",
}
"""Each type's `module:class`; a module is imported when the first resource of its type comes along."""


class Servicer(server.ProviderServicer):
    """The protocol. Every method ends with an answer or with a status whose text is meant for people."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handlers: dict[str, Handler] = {}
        self._environments: dict[str, Environment] = {}
        self._cancelled = asyncio.Event()

    async def Cancel(self, request: Any, context: Any) -> Any:
        """The second Ctrl-C: what is in flight is answered at once; the next update adopts what it made."""
        del request, context
        self._cancelled.set()
        return empty_pb2.Empty()

    async def GetSchema(self, request: Any, context: Any) -> Any:
        del request, context
        return proto.GetSchemaResponse(schema=f'{{"name":"mlops","version":"{__version__}"}}')

    async def CheckConfig(self, request: Any, context: Any) -> Any:
        del context
        return proto.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, context: Any) -> Any:
        del request, context
        return proto.DiffResponse(changes=proto.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, context: Any) -> Any:
        del request, context
        threading.Thread(target=_warm_up, daemon=True).start()
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True, acceptOutputs=False)

    async def Check(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        inputs = _plain(_properties(request.news))
        known = {*handler.required, *handler.optional}
        faults = [(name, "no such property") for name in inputs if name not in known]
        faults += [(name, "is required") for name in handler.required if inputs.get(name) is None]
        if not faults:
            faults += await self._work(context, env, lambda: list(handler.check(env, inputs)))
        failures = [proto.CheckFailure(property=name, reason=reason) for name, reason in faults]
        return proto.CheckResponse(inputs=request.news, failures=failures)

    async def Diff(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        old, new = _plain(_properties(request.old_inputs)), _plain(_properties(request.news))
        names = changed(old, new)
        if not names and not is_unknown(new):
            outputs = _plain(_properties(request.olds))
            drifted = await self._work(context, env, lambda: handler.drift(env, new, outputs))
            names = [drifted] if drifted else []
        return _diff_response(handler, names, old, new)

    async def Create(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        inputs = _properties(request.properties)
        values = _plain(inputs)
        if request.preview:
            return proto.CreateResponse(id="", properties=_outputs(handler, env, inputs))
        identity = handler.identify(values)
        await self._apply(context, handler, env, identity, inputs, None)
        return proto.CreateResponse(id=identity, properties=_outputs(handler, env, inputs))

    async def Update(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        inputs = _properties(request.news)
        if not request.preview:
            old = _plain(_properties(request.old_inputs))
            await self._apply(context, handler, env, request.id, inputs, old)
        return proto.UpdateResponse(properties=_outputs(handler, env, inputs))

    async def Read(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        inputs = _properties(request.inputs)
        if not inputs and not request.properties.fields:
            await _abort(
                context, f"{handler.type} cannot be imported: it is made by the environment's program"
            )
        found = await self._work(context, env, lambda: handler.read(env, _plain(inputs)))
        if found is None:
            return proto.ReadResponse(id="")
        properties = _outputs(handler, env, inputs, found)
        return proto.ReadResponse(id=request.id, properties=properties, inputs=request.inputs)

    async def Delete(self, request: Any, context: Any) -> Any:
        handler, env = self._of(request.urn)
        inputs = _plain(_properties(request.old_inputs) or _properties(request.properties))
        await self._work(context, env, lambda: _delete(handler, env, inputs))
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        await _abort(context, f"the provider has no function {request.tok}")

    async def Construct(self, request: Any, context: Any) -> Any:
        await _abort(context, f"the provider has no component {request.type}")

    def _of(self, urn: str) -> tuple[Handler, Environment]:
        """Handler and environment of a resource: `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`."""
        prefix, _project, types, _name = urn.split("::", 3)
        kind = types.rpartition("$")[2]
        if kind not in self._handlers:
            module, _, name = HANDLERS[kind].partition(":")
            loaded = importlib.import_module(f"mlops_sdk.provider.{module}")
            self._handlers[kind] = getattr(loaded, name)()
        name = prefix.rpartition(":")[2]
        return self._handlers[kind], self._environments.setdefault(name, Environment(name))

    async def _work(self, context: Any, env: Environment, call: Callable[[], T]) -> T:
        try:
            return await self._in_thread(call)
        except Exception as error:  # noqa: BLE001 - the process boundary: the engine gets a text
            await _abort(context, _text(error, env))

    async def _apply(
        self,
        context: Any,
        handler: Handler,
        env: Environment,
        identity: str,
        inputs: Properties,
        old: Plain | None,
    ) -> None:
        values = _plain(inputs)
        try:
            await self._in_thread(lambda: _apply(handler, env, values, old))
        except Exception as error:  # noqa: BLE001 - as above
            reason = _text(error, env)
            if old is None and await self._is_there(handler, env, values):
                await _abort_partial(context, identity, _outputs(handler, env, inputs), inputs, reason)
            await _abort(context, reason)

    async def _is_there(self, handler: Handler, env: Environment, values: Plain) -> bool:
        """Whether a failed create left something behind that destroy has to know of."""
        try:
            return await asyncio.to_thread(lambda: handler.read(env, values)) is not None
        except Exception:  # noqa: BLE001 - the first error is the one to tell
            return False

    async def _in_thread(self, call: Callable[[], T]) -> T:
        work = asyncio.ensure_future(asyncio.to_thread(call))
        stop = asyncio.ensure_future(self._cancelled.wait())
        done, _ = await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work not in done:
            raise MlopsError("stopped before it was done", remedy="The next update goes on from here.")
        return work.result()


def _apply(handler: Handler, env: Environment, values: Plain, old: Plain | None) -> None:
    refuse_if_late(env)
    handler.apply(env, values, old)


def _delete(handler: Handler, env: Environment, values: Plain) -> None:
    refuse_if_late(env)
    handler.delete(env, values)


def _properties(struct: struct_pb2.Struct) -> Properties:
    return dict(PropertyValue.unmarshal_map(struct))


def _plain(properties: Properties) -> Plain:
    return {key: plain(value) for key, value in properties.items() if not key.startswith("__")}


def _outputs(
    handler: Handler, env: Environment, inputs: Properties, found: Plain | None = None
) -> struct_pb2.Struct:
    """Inputs with their secret marks, and what the handler adds: as it should be, or as it was `found`."""
    values = _plain(inputs)
    added = handler.outputs(env, values) if found is None else found
    marked = {key: wrapped(value).with_secret(key in handler.secret_outputs) for key, value in added.items()}
    return PropertyValue.marshal_map({**inputs, **marked})


def _diff_response(handler: Handler, names: list[str], old: Plain, new: Plain) -> Any:
    replaces = [name for name in names if name in handler.replace_on]
    found = [path for name in names for path in (list(paths(old.get(name), new.get(name), name)) or [name])]
    detailed = {}
    for path in found:
        top = path.partition(".")[0].partition("[")[0]
        kind = proto.PropertyDiff.UPDATE_REPLACE if top in replaces else proto.PropertyDiff.UPDATE
        detailed[path] = proto.PropertyDiff(kind=kind, inputDiff=top in new or top in old)
    return proto.DiffResponse(
        changes=proto.DiffResponse.DIFF_SOME if names else proto.DiffResponse.DIFF_NONE,
        diffs=names,
        replaces=replaces,
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _text(error: Exception, env: Environment) -> str:
    """An error for people: of the tree as `MovedError: ...`; a fault of the SDK with where it is told."""
    if isinstance(error, MlopsError):
        return f"{type(error).__name__}: {error}"
    log = env.folder / "logs" / "provider.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        traceback.print_exception(error, file=stream)
    return f"MlopsError: unexpected {type(error).__name__}: {error}\n  {log} has the details"


async def _abort(context: Any, text: str) -> NoReturn:
    await context.abort(grpc.StatusCode.UNKNOWN, text)
    raise AssertionError("abort returned")


async def _abort_partial(
    context: Any, identity: str, properties: struct_pb2.Struct, inputs: Properties, reason: str
) -> NoReturn:
    """Half made: the engine keeps it in the state with the reason, and the next update tries again."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=identity, properties=properties, reasons=[reason], inputs=PropertyValue.marshal_map(inputs)
    )
    message = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    message.details.add().Pack(detail)
    status = grpc.Status()
    status.code, status.details = grpc.StatusCode.UNKNOWN, reason
    status.trailing_metadata = (("grpc-status-details-bin", message.SerializeToString()),)
    await context.abort_with_status(status)
    raise AssertionError("abort returned")


def _warm_up() -> None:
    """Imports, while the program still declares, what the last resource of every update asks the ledger with."""
    for module in (
        "psycopg",
        "mlops_sdk.ledger.store",
        "mlops_sdk.ledger.lease",
        "mlops_sdk.stack.config_file",
    ):
        importlib.import_module(module)


def main() -> None:
    """The plugin's command: the engine gives its address, and reads our port from standard output."""
    server.ProviderServicer = Servicer  # type: ignore[misc]  # main builds the servicer by this name
    server.main(sys.argv[1:], __version__, None)  # type: ignore[arg-type]
