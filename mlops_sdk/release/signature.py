"""What differs between two model signatures, in words. Pure.

A signature has MLflow's lists `inputs`, `outputs` and `params`: columns with a name and a type, or tensors.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_PARTS = ("inputs", "outputs", "params")


def signature_delta(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    """One line for each column that came, went or changed its type: `inputs: + budget (double)`."""
    if old is None or new is None:
        return () if old is new else ("a signature came" if old is None else "the signature is gone",)
    return tuple(line for part in _PARTS for line in _delta(part, old.get(part), new.get(part)))


def _delta(part: str, old: object, new: object) -> Iterator[str]:
    before, after = _columns(old), _columns(new)
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before:
            yield f"{part}: + {name} ({after[name]})"
        elif name not in after:
            yield f"{part}: - {name}"
        elif before[name] != after[name]:
            yield f"{part}: {name} {before[name]} -> {after[name]}"
    if before == after and [*before] != [*after]:
        yield f"{part}: another order"


def _columns(value: object) -> dict[str, str]:
    columns = value if isinstance(value, list) else []
    found = {}
    for place, column in enumerate(columns):
        name = str(column.get("name", f"#{place}"))
        found[name] = _type(column) + ("" if column.get("required", True) else ", optional")
    return found


def _type(column: Mapping[str, Any]) -> str:
    if tensor := column.get("tensor-spec"):
        return f"{tensor.get('dtype')} {tensor.get('shape')}"
    return str(column.get("type") or column.get("dtype"))
