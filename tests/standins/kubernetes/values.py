"""Pulumi's property values as plain JSON and back, and what differs between two of them. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

SECRET_FIELDS = ("data", "stringData")


def plain(value: Any) -> Any:
    """A property value as JSON. Whole floats become ints: the API server refuses 2.0 where it wants an int."""
    inner = value.value if isinstance(value, PropertyValue) else value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, str | bool | float | int) or inner is None:
        return inner
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    return [plain(item) for item in inner]


def plain_map(message: Any) -> dict[str, Any]:
    """A protobuf struct of properties as JSON."""
    return {key: plain(value) for key, value in PropertyValue.unmarshal_map(message).items()}


def unknown(value: Any) -> bool:
    """Whether anything in a JSON value is not known before the update."""
    if isinstance(value, dict):
        return any(unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(unknown(item) for item in value)
    return bool(value == UNKNOWN)


def marshal(obj: Mapping[str, Any], secret_like: Mapping[str, PropertyValue] | None = None) -> Any:
    """JSON as a protobuf struct; secret is what is secret in `secret_like`, and the content of a Secret."""
    values = {key: _property(value) for key, value in obj.items()}
    for key, other in (secret_like or {}).items():
        if key in values:
            values[key] = _like(values[key], other)
    if obj.get("kind") == "Secret":
        for key in SECRET_FIELDS:
            if key in values:
                values[key] = values[key].with_secret(True)
    return PropertyValue.marshal_map(values)


def changed(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every difference as (path, "ADD" | "DELETE" | "UPDATE")."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            here = _joined(path, key)
            if key not in old or key not in new:
                yield here, "ADD" if key in new else "DELETE"
            else:
                yield from changed(old[key], new[key], here)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from changed(before, after, f"{path}[{number}]")
    elif old != new:
        yield path, "UPDATE"


def drifted(inputs: Any, state: Any, live: Any) -> Any:
    """The inputs as the cluster now has them: one moves only where `live` differs from the last `state`."""
    if live == state:
        return inputs
    if isinstance(inputs, dict) and isinstance(live, dict):
        before = state if isinstance(state, dict) else {}
        return {
            key: drifted(value, before.get(key), live.get(key))
            for key, value in inputs.items()
            if key in live or key not in before
        }
    lists = [inputs, state, live]
    if all(isinstance(item, list) and len(item) == len(inputs) for item in lists):
        return [drifted(*items) for items in zip(*lists, strict=True)]
    return live


def _property(value: Any) -> PropertyValue:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return PropertyValue(value)
    if isinstance(value, int | float):
        return PropertyValue(float(value))
    if isinstance(value, dict):
        return PropertyValue({key: _property(item) for key, item in value.items()})
    return PropertyValue([_property(item) for item in value])


def _like(out: PropertyValue, other: PropertyValue) -> PropertyValue:
    if other.is_secret:
        return out.with_secret(True)
    mine, theirs = out.value, other.value
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return PropertyValue(
            {key: _like(item, theirs[key]) if key in theirs else item for key, item in mine.items()}
        )
    if isinstance(mine, tuple) and isinstance(theirs, tuple) and len(mine) == len(theirs):
        return PropertyValue([_like(a, b) for a, b in zip(mine, theirs, strict=True)])
    return out


def _joined(path: str, key: str) -> str:
    if not path:
        return key
    return f"{path}.{key}" if re.fullmatch(r"[\w-]+", key) else f'{path}["{key}"]'
