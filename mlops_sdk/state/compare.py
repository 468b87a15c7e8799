"""Two nested documents side by side: the paths at which their values differ. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_sdk.release.digest import canonical_json


@dataclass(frozen=True)
class Difference:
    """A path at which two documents differ. `old` or `new` is None where there is nothing, or a null."""

    path: str
    old: Any
    new: Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """What differs, by path: `declaration.columns.title.type`. Empty exactly if both are equal as JSON."""
    before, after = leaves(old), leaves(new)
    return [
        Difference(path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        # By canonical JSON: to Python 1 equals True and 1.0, to a fingerprint it does not.
        if (path in before) != (path in after) or canonical_json(before[path]) != canonical_json(after[path])
    ]


def leaves(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a document by their paths. Elements of a list go by name where each has one of its own."""
    return dict(_leaves(document, ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, _part(key)))
    elif names := _names(value):
        yield ".".join((*path, "*")), names  # their order counts too
        for name, inner in zip(names, value, strict=True):
            rest = {key: item for key, item in inner.items() if key != "name"}
            yield from _leaves(rest, (*path, _part(name)))
    else:
        yield ".".join(path), value


def _names(value: Any) -> list[str]:
    """The names of a list's elements, if all have one and no two the same."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        return []
    names = [item.get("name") for item in value]
    distinct = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return [str(name) for name in names] if distinct else []


def _part(key: str) -> str:
    """A key in a path; one that holds a dot is quoted, so that no two paths are spelled alike."""
    return repr(key) if not key or set(key) & set(".*'\"\\") else key
