"""Property names of pulumi_gcp's resources, checked against the package's own input classes. Pure."""

import importlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type


def args_class(token: str) -> Any:
    """`gcp:container/cluster:Cluster` -> `pulumi_gcp.container.ClusterArgs`; None where the package has none."""
    _, module, name = token.split(":")
    try:
        return getattr(importlib.import_module(f"pulumi_gcp.{module.split('/')[0]}"), f"{name}Args")
    except (ImportError, AttributeError):
        return None


def faults(token: str, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    """Property and reason: what the class does not have, nested too, and what it requires and is missing."""
    found = args_class(token)
    if found is None:
        return [("", f"pulumi_gcp has no {token}")]
    return [*_strange(inputs, found, ""), *_missing(inputs, found)]


def _strange(value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        inner = _unwrapped((typing.get_args(kind) or (None,))[0])
        for number, item in enumerate(value):
            yield from _strange(item, inner, f"{path}[{number}]")
    elif isinstance(value, dict) and inspect.isclass(kind) and is_input_type(kind):
        known = set(input_type_py_to_pulumi_names(kind).values())
        types = input_type_types(kind)
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            if name not in known:
                yield place, f"{kind.__name__} has no property {name!r}; it has {', '.join(sorted(known))}"
            else:
                yield from _strange(item, types.get(name), place)


def _unwrapped(kind: Any) -> Any:
    """The class in a union of what may be given for it: itself, an awaitable, an output."""
    return next((one for one in typing.get_args(kind) if inspect.isclass(one)), kind)


def _missing(inputs: dict[str, Any], kind: Any) -> Iterator[tuple[str, str]]:
    names = input_type_py_to_pulumi_names(kind)
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        name = names.get(parameter.name, parameter.name)
        if parameter.default is parameter.empty and name not in inputs:
            yield name, "is required"
