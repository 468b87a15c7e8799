"""Pulumi's mocks for programs of every kind: what a program declares, from config alone, with secrets revealed."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi.runtime

SECRET_MARK = "4dabf18193072939515e22adb298388d"


@dataclass
class Declared(pulumi.runtime.Mocks):
    """Remembers every resource, and gives EnvFiles the output that processes wait for.

    `wire` are the inputs as the engine gets them, with secrets wrapped; `outputs` adds outputs by the end of a type.
    """

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    wire: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        held = self.types.get(args.name)
        assert held != args.typ, f"declared twice: {args.name}"
        # A component and a resource in it may share a name: it is the resource's here.
        free = held is None or held.startswith("mlops-sdk:")
        name = args.name if free else f"{args.name} ({args.typ})"
        self.resources[name] = revealed(args.inputs)
        self.types[name] = args.typ
        self.wire[name] = args.inputs
        more: dict[str, Any] = {"digest": f"digest of {args.name}"}
        for end, values in self.outputs.items():
            if args.typ.endswith(end):
                more |= {key: value.format(name=args.name) for key, value in values.items()}
        return args.name, {**args.inputs, **more}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program called {args.token}")

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The resources whose type ends so, by name."""
        return {name: value for name, value in self.resources.items() if self.types[name].endswith(kind)}


def revealed(value: Any) -> Any:
    """Inputs with each secret in place of what Pulumi wraps it in."""
    if isinstance(value, dict):
        if SECRET_MARK in value and "value" in value:
            return revealed(value["value"])
        return {key: revealed(item) for key, item in value.items()}
    return [revealed(item) for item in value] if isinstance(value, list) else value


def hidden(value: Any) -> Any:
    """Inputs with each secret replaced by a mark: what a log or a plain state could show."""
    if isinstance(value, dict):
        if SECRET_MARK in value:
            return "[secret]"
        return {key: hidden(item) for key, item in value.items()}
    return [hidden(item) for item in value] if isinstance(value, list) else value


@contextmanager
def own_event_loop() -> Iterator[None]:
    """Pulumi makes futures outside of a running loop: an earlier test of the process may have left it none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def declare(program: Callable[[], None], stack: str, **outputs: dict[str, Any]) -> Declared:
    """Run a program under mocks, every output awaited."""
    mocks = Declared(outputs={f":{end}": values for end, values in outputs.items()})
    pulumi.runtime.set_mocks(mocks, project="mlops-sdk", stack=stack, preview=False)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def run() -> None:
        program()

    run()
    return mocks
