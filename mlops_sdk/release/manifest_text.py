"""The text of the next manifest from the text of the one before: its comments and layout stay. Pure.

It must not decide what changes: it writes a manifest that was made.
"""

from io import StringIO
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_sdk.release.manifest import Manifest
from mlops_sdk.release.yaml_reader import read_document
from mlops_sdk.release.yaml_writer import to_yaml

_MARK = "# Made by `mlops event` in "
_EDITOR = "# yaml-language-server:"


def next_text(previous: str, manifest: Manifest, *, environment: str, why: str) -> str:
    """The file of `manifest`, laid out as `previous`; the comment at its top says where and why (one line) instead.

    What the old comment at the top said was true of the old release only.
    """
    head, body = _split(previous)
    editor = [line for line in head if line.startswith(_EDITOR)]
    top = "".join(f"{line}\n" for line in (*editor, f"{_MARK}{environment}: {why}"))
    kept = top + _edited(body, manifest)
    return kept if _reads_as(kept, manifest) else top + to_yaml(manifest.document())


def made_for(text: str, environment: str) -> str:
    """Why an event of the environment made a manifest, as its text says; empty where none did."""
    mark = f"{_MARK}{environment}: "
    return next((line.removeprefix(mark) for line in _split(text)[0] if line.startswith(mark)), "")


def _split(text: str) -> tuple[list[str], str]:
    """The lines of comment at the top, and the rest."""
    lines = text.splitlines()
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return lines[:first], "".join(f"{line}\n" for line in lines[first:])


def _edited(body: str, manifest: Manifest) -> str:
    yaml = YAML()  # keeps comments, order and flow style
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        document = yaml.load(body)
        document["release"] = manifest.release
        _set(document["code"], "ref", manifest.code.ref)
        for key, model in manifest.models.items():
            _set_version(document["models"][key], model.version)
    except (YAMLError, KeyError, TypeError, AttributeError):
        return ""  # laid out in a way that cannot be edited: written anew
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _set(mapping: Any, key: str, value: object) -> None:
    if mapping[key] != value:
        mapping[key] = value


def _set_version(mapping: Any, version: int | None) -> None:
    if version is None or mapping.get("version") == version:
        return
    if "alias" in mapping:
        place = list(mapping).index("alias")
        del mapping["alias"]
        mapping.insert(place, "version", version)
        return
    mapping["version"] = version


def _reads_as(text: str, manifest: Manifest) -> bool:
    document = read_document(text, "")
    if document.faults or not isinstance(document.value, dict):
        return False
    try:
        found = Manifest.model_validate(document.value)
    except ValidationError:
        return False
    return found == manifest and list(found.models) == list(manifest.models)
