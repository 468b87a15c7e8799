"""What a flow takes, as Prefect's page and command ask for it: a JSON Schema from the source of its function. Pure.

The source is read and never run: the provider must not import a release's code, and Prefect's own way to this, which
does, would take each deploy some three seconds a flow in a process apart. What an annotation means is told for plain
ones only, as Prefect tells it; a parameter of any other takes whatever JSON it is given.
"""

import ast
from typing import Any

_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "None": {"type": "null"},
}


def flow_form(source: str, function: str) -> dict[str, Any]:
    """The `parameter_openapi_schema` of a deployment; without properties where the module has no such function.

    https://spec.openapis.org/oas/v3.1.0#schema-object, as Prefect makes it: an object with a property a parameter.
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            for position, (argument, default) in enumerate(_arguments(node.args)):
                shown = {"title": argument.arg, "position": position, **_meaning(argument.annotation)}
                if default is None:
                    required.append(argument.arg)
                properties[argument.arg] = shown | _value(default)
    return {
        "title": "Parameters",
        "type": "object",
        "properties": properties,
        "required": required,
        "definitions": {},
    }


def _arguments(given: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    by_place = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(by_place) - len(given.defaults)), *given.defaults]
    return [*zip(by_place, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]


def _meaning(annotation: ast.expr | None) -> dict[str, Any]:
    parts = [] if annotation is None else [part.strip() for part in ast.unparse(annotation).split("|")]
    if not parts or not all(part in _TYPES for part in parts):
        return {}
    return _TYPES[parts[0]] if len(parts) == 1 else {"anyOf": [_TYPES[part] for part in parts]}


def _value(default: ast.expr | None) -> dict[str, Any]:
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError:  # an expression: known when the flow runs
        return {}
    return (
        {}
        if default is None or not isinstance(value, str | int | float | bool | None)
        else {"default": value}
    )


__all__ = ["flow_form"]
