"""Between the engine's property values and plain Python values; secrets and unknowns survive. Pure.

Must not know any resource.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

__all__ = ["UNKNOWN", "Plain", "changed", "is_unknown", "paths", "plain", "wrapped"]

Plain = dict[str, Any]


def plain(value: Any) -> Any:
    """A property value as JSON-like values; whole floats become ints, since the wire has no ints."""
    inner = value.value if isinstance(value, PropertyValue) else value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if inner is None or isinstance(inner, str | bool | int | float):
        return inner
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, list | tuple):
        return [plain(item) for item in inner]
    return UNKNOWN  # a computed value


def wrapped(value: Any) -> PropertyValue:
    """JSON-like values as a property value."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return PropertyValue(value)
    if isinstance(value, int | float):
        return PropertyValue(float(value))
    if isinstance(value, Mapping):
        return PropertyValue({key: wrapped(item) for key, item in value.items()})
    return PropertyValue([wrapped(item) for item in value])


def is_unknown(value: Any) -> bool:
    """Whether anything in a plain value is not known before the update."""
    if isinstance(value, Mapping):
        return any(is_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(is_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def changed(old: Plain, new: Plain) -> list[str]:
    """Top-level properties whose values differ; absent and null are the same."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))


def paths(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """Where two plain values differ, as the engine writes paths."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            name = key if key.isidentifier() else f'["{key}"]'
            joined = f"{prefix}.{name}" if prefix and not name.startswith("[") else f"{prefix}{name}"
            yield from paths(old.get(key), new.get(key), joined)
    elif old != new:
        yield prefix
