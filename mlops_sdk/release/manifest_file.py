"""Reads a manifest and says everything that is wrong with it at once, each with line, key and remedy.

It must not resolve refs, aliases or entry points: that takes git, the registry and the release's own code.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mlops_sdk.errors import InputError, ManifestError, NotFoundError
from mlops_sdk.release.json_schema import manifest_json_schema
from mlops_sdk.release.manifest import (
    RESERVED,
    Manifest,
    version_fault,
)
from mlops_sdk.release.tag import Tag, model_faults, parse_tag, tag_form
from mlops_sdk.release.yaml_reader import Document, read_document

__all__ = ["load_manifest", "manifest_json_schema"]

KeyPath = tuple[str | int, ...]
_KEYS = [field.alias or name for name, field in Manifest.model_fields.items()]
_JSON_TYPES = {
    dict: "a map",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}
_BAD_TAG = ("string_pattern_mismatch", ("release",))
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
}


def load_manifest(path: Path, *, scheme: str = "deployment-manager") -> Manifest:
    """The manifest in a file named TAG.yaml; `scheme` is the project's versioning scheme.

    Raises ManifestError with every fault in the order of lines, NotFoundError if there is no such file.
    """
    document = read_document(_read_text(path), str(path))
    if not document.faults and not isinstance(document.value, dict):
        document.add((), "not a map of keys", f"write the keys {', '.join(_KEYS)}")
    if not isinstance(document.value, dict):
        raise ManifestError(document.faults)
    _drop_empty(document)
    manifest = _validate(document, document.value)
    _check_release(document, document.value.get("release"), path, scheme)
    _check_models(document, document.value.get("models"))
    _check_gates(document, manifest)
    if document.faults or manifest is None:
        raise ManifestError(document.faults)
    return manifest


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            "no such release manifest", where=str(path), remedy="give the path of a stacks/releases/TAG.yaml"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read this release manifest: {reason}", where=str(path)) from error


def _drop_empty(document: Document) -> None:
    """Reports keys of the manifest's own that have no value, and takes them out; parameters may be null."""
    assert isinstance(document.value, dict)
    maps = list(_own_maps(document.value, ()))
    reported = {fault.key for fault in document.faults}
    for path, mapping in maps:
        for key in [key for key, value in mapping.items() if value is None]:
            place = (*path, key)
            if _model_at(path) is not None and key not in _fields_at(path):
                continue  # unknown: a fault of its own
            del mapping[key]
            if ".".join(map(str, place)) in reported:
                continue  # an alias or a tag: said already
            document.add(place, "empty", f"write {_right(place)}, or remove the key")


def _own_maps(value: dict[str, Any], path: KeyPath) -> Iterable[tuple[KeyPath, dict[str, Any]]]:
    """The maps whose keys the format knows, the outer ones first."""
    yield path, value
    for key, inner in value.items():
        if isinstance(inner, dict) and _type_at((*path, key)) is not None:
            yield from _own_maps(inner, (*path, key))


def _validate(document: Document, value: dict[str, Any]) -> Manifest | None:
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        # Empty keys are faults of their own: that they are then missing is not another one.
        known = {fault.key for fault in document.faults}
        for detail in error.errors(include_url=False):
            _add(document, detail, known)
        return None


def _add(document: Document, detail: ErrorDetails, known: set[str]) -> None:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "missing":
        if ".".join(map(str, path)) not in known:
            document.add(path, "missing", f"write {_right(path)}")
    elif detail["type"] == "extra_forbidden":
        _add_unknown(document, path)
    elif (path[:1] == ("models",) and detail["type"] == "value_error") or (detail["type"], path) == _BAD_TAG:
        return  # `_check_models` and `_check_release` say it, also where there are other faults
    elif detail["type"] == "value_error":
        document.add(path, str(detail["ctx"]["error"]), f"write {_right(path)}")
    else:
        document.add(path, _what(detail), f"write {_right(path)}")


def _add_unknown(document: Document, path: KeyPath) -> None:
    name = str(path[-1])
    if len(path) == 1 and name in RESERVED:
        document.add(path, "reserved, not supported by this version", "remove the key")
        return
    keys = _fields_at(path[:-1])
    close = get_close_matches(name, keys, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"remove it; known keys: {', '.join(keys)}"
    document.add(path, "unknown key", remedy)


def _what(detail: ErrorDetails) -> str:
    given = detail["input"]
    if wanted := _WANTED.get(detail["type"]):
        return f"{_shown(given)} is {_JSON_TYPES.get(type(given), 'something else')}, not {wanted}"
    if detail["type"] == "string_pattern_mismatch":
        return f"{_shown(given)} has the wrong form" if given else "empty text"
    if detail["type"] == "literal_error":
        return f"{_shown(given)} is not supported"
    message = detail["msg"].removeprefix("Input ").removeprefix("should ")
    return f"{_shown(given)} should {message}"


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "this"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_release(document: Document, release: object, path: Path, scheme: str) -> None:
    if not isinstance(release, str) or "release" in {fault.key for fault in document.faults}:
        return
    try:
        tag = parse_tag(release, scheme)
    except InputError as error:
        document.add(("release",), error.what, f"write {tag_form(scheme)}")
        return
    if path.name != f"{release}.yaml":
        remedy = f"name the file {release}.yaml, or write the tag that it is named by"
        document.add(("release",), f"the file of release {release} is named {path.name}", remedy)
    _check_named_models(document, tag)


def _check_named_models(document: Document, tag: Tag) -> None:
    """A tag that names models names those of the manifest, once nothing else is wrong with them."""
    assert isinstance(document.value, dict)
    models = document.value.get("models", {})
    if any(fault.key.startswith("models") for fault in document.faults) or not isinstance(models, dict):
        return
    if all(isinstance(model, dict) for model in models.values()):
        versions = {key: model.get("version") for key, model in models.items()}
        for fault in model_faults(tag, versions):
            document.add(("release",), fault, "write the same models and versions in both, in the same order")


def _check_models(document: Document, models: object) -> None:
    if not isinstance(models, dict):
        return
    for key, model in models.items():
        if not isinstance(model, dict):
            continue
        place: KeyPath = ("models", key)
        # A key without a value counts as given: that it is empty was said.
        has = {name: (*place, name) in document.lines for name in ("version", "alias")}
        fault = version_fault(has_version=has["version"], has_alias=has["alias"])
        if fault:
            document.add(place, fault, "write one of them, such as version: 1")


def _check_gates(document: Document, manifest: Manifest | None) -> None:
    if manifest is None or manifest.shift is not None or not manifest.verify.judges_traffic:
        return
    for name in ("error_rate", "latency", "prediction_drift"):
        if getattr(manifest.verify, name) is not None:
            remedy = "declare shift, such as {steps: [5, 50, 100], each: {seconds: 60}}, or remove the gate"
            document.add(("verify", name), "nothing to judge: no step of traffic is declared", remedy)


def _type_at(path: KeyPath) -> Any:
    """The type that the format has at `path`: a record, or a map of records by name; None for what is a person's."""
    found: Any = Manifest
    for part in path:
        if get_origin(found) is dict:
            found = get_args(found)[1]
            continue
        fields = {field.alias or name: field for name, field in found.model_fields.items()}
        found = _record(fields[part].annotation) if part in fields else None
        if found is None:
            return None
    return found


def _record(annotation: Any) -> Any:
    if isinstance(annotation, UnionType):
        annotation = next(option for option in get_args(annotation) if option is not type(None))
    if get_origin(annotation) is dict:
        return annotation if _record(get_args(annotation)[1]) else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    found = _type_at(path)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _fields_at(path: KeyPath) -> list[str]:
    model = _model_at(path)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _right(path: KeyPath) -> str:
    """What would be right at `path`, from the description of the field."""
    if len(path) == 2 and path[0] == "models":
        return "a key of a-z, 0-9 and _, a letter first, and {name: NAME, version: N}"
    if len(path) == 2 and path[0] == "flows":
        return "a name of a-z, 0-9, _ and -, a letter first, and {run: path/to/file.py:FUNCTION}"
    model = _model_at(path[:-1])
    for name, field in model.model_fields.items() if model else ():
        if (field.alias or name) == path[-1]:
            return field.description or "another value"
    if model is None and len(path) > 1:  # an entry of a map, or an element of a list
        return _right(path[:-1])
    return f"a value for {path[-1]}"
