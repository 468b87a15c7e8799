"""The plugin's protocol, with hooks for what a stand-in knows of its package.

Source: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto. It subclasses the servicer and not
`Provider`, because the latter drops the old inputs of a diff.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from google.protobuf import empty_pb2
from pulumi.provider.experimental import server
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import proto
from pulumi.runtime.rpc import UNKNOWN

Plain = dict[str, Any]


class Refused(Exception):
    """What the real service would answer; its text is what people see."""


class EchoProvider(server.ProviderServicer):
    """Answers every request with the inputs. Subclasses say which inputs are wrong and what is added to them."""

    package: ClassVar[str] = "echo"
    version: ClassVar[str] = "1.0.0"
    config: ClassVar[Plain] = {}

    def faults(self, token: str, inputs: Plain) -> list[tuple[str, str]]:
        """Property and reason of each fault of the inputs; found at preview."""
        del token, inputs
        return []

    def replacing(self, token: str) -> frozenset[str]:
        """The properties that the service cannot change in place."""
        del token
        return frozenset()

    def identify(self, token: str, name: str, inputs: Plain) -> str:
        """The id of a resource that was made."""
        del token, inputs
        return name

    def outputs(self, token: str, name: str, inputs: Plain) -> Plain:
        """What the service adds to the inputs, known only when it is made."""
        del token, name, inputs
        return {}

    def make(self, token: str, identity: str, inputs: Plain, old: Plain | None) -> None:
        """Make or change it. Raises Refused."""

    def remove(self, token: str, identity: str, inputs: Plain) -> None:
        """Remove it. Raises Refused."""

    async def Cancel(self, request: Any, context: Any) -> Any:  # noqa: ARG002 - the protocol's names
        """Nothing here waits."""
        return empty_pb2.Empty()

    async def GetSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """No schema: programs use the SDK's own."""
        return proto.GetSchemaResponse(schema=f'{{"name":"{self.package}","version":"{self.version}"}}')

    async def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Every option is taken."""
        return proto.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """A change of an option is one, never a replacement."""
        same = request.olds == request.news
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_NONE if same else proto.DiffResponse.DIFF_SOME
        )

    async def Configure(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """Remember the options."""
        type(self).config = plain_map(request.args)
        return proto.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """The inputs as they are, and their faults."""
        found = self.faults(token_of(request.urn), plain_map(request.news))
        failures = [proto.CheckFailure(property=name, reason=why) for name, why in found]
        return proto.CheckResponse(inputs=request.news, failures=failures)

    async def Diff(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """The inputs that differ."""
        old, new = plain_map(request.old_inputs), plain_map(request.news)
        for path in request.ignoreChanges:
            for values in (old, new):
                _forget(values, path)
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        replaces = [name for name in names if name in self.replacing(token_of(request.urn))]
        return proto.DiffResponse(
            changes=proto.DiffResponse.DIFF_SOME if names else proto.DiffResponse.DIFF_NONE,
            diffs=names,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces),
        )

    async def Create(self, request: Any, context: Any) -> Any:
        """Make it; at preview its outputs are unknown."""
        token, name = token_of(request.urn), request.urn.rpartition("::")[2]
        inputs = plain_map(request.properties)
        identity = "" if request.preview else self.identify(token, name, inputs)
        if not request.preview:
            await self._call(context, lambda: self.make(token, identity, inputs, None))
        return proto.CreateResponse(
            id=identity, properties=self._state(request.properties, token, name, request.preview)
        )

    async def Update(self, request: Any, context: Any) -> Any:
        """Change it; its outputs stay as they are."""
        token, name = token_of(request.urn), request.urn.rpartition("::")[2]
        if not request.preview:
            old, new = plain_map(request.old_inputs), plain_map(request.news)
            await self._call(context, lambda: self.make(token, request.id, new, old))
        return proto.UpdateResponse(properties=self._state(request.news, token, name, preview=False))

    async def Read(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        """As it was made: there is no reality to look at."""
        return proto.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    async def Delete(self, request: Any, context: Any) -> Any:
        """Remove it."""
        token, inputs = token_of(request.urn), plain_map(request.old_inputs)
        await self._call(context, lambda: self.remove(token, request.id, inputs))
        return empty_pb2.Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:
        """It has no functions."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.tok} is not in this stand-in")

    def _state(self, struct: Any, token: str, name: str, preview: bool) -> Any:
        inputs = PropertyValue.unmarshal_map(struct)
        added = self.outputs(token, name, plain_map(struct))
        marked = {key: PropertyValue(UNKNOWN) if preview else wrapped(value) for key, value in added.items()}
        return PropertyValue.marshal_map({**inputs, **marked})

    async def _call(self, context: Any, call: Any) -> None:
        try:
            await asyncio.to_thread(call)
        except Refused as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))


def token_of(urn: str) -> str:
    """The type of a resource: `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`."""
    return urn.split("::")[2].rpartition("$")[2]


def plain_map(struct: Any) -> Plain:
    """A struct's values, secrets and numbers plain."""
    return {
        key: plain(value) for key, value in PropertyValue.unmarshal_map(struct).items() if key[:2] != "__"
    }


def plain(value: Any) -> Any:
    """A property value as Python's own."""
    found = value.value if isinstance(value, PropertyValue) else value
    if isinstance(found, float) and found.is_integer():
        return int(found)
    if isinstance(found, Mapping):
        return {key: plain(item) for key, item in found.items()}
    return [plain(item) for item in found] if isinstance(found, tuple | list) else found


def wrapped(value: Any) -> PropertyValue:
    """Python's own as a property value."""
    if isinstance(value, dict):
        return PropertyValue({key: wrapped(item) for key, item in value.items()})
    if isinstance(value, list):
        return PropertyValue([wrapped(item) for item in value])
    return PropertyValue(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _forget(values: Plain, path: str) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        values = values.get(folder) or {}
    values.pop(last, None)
