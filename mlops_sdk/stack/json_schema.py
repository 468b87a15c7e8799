"""The JSON Schema of a stack file, from the same fields that read one.

`python -m mlops_sdk.stack.json_schema` prints it; stacks/config.schema.json is its output.
"""

import json
import sys
from typing import Any

from pydantic import BaseModel

from mlops_sdk.stack.config import PROJECT, ReleaseSection
from mlops_sdk.stack.kinds import KINDS

_SECRET = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}


def config_json_schema() -> dict[str, Any]:
    """The JSON Schema of `stacks/Pulumi.ENV.yaml`, for editors. `stacks/config.schema.json` is this."""
    definitions: dict[str, Any] = {}
    kinds = [_kind(name, model, definitions) for name, model in KINDS.items()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack config of an environment",
        "type": "object",
        "properties": {
            "config": {"type": "object", "oneOf": kinds},
            "secretsprovider": {
                "type": "string",
                "description": "what encrypts secrets; absent: a passphrase",
            },
            "encryptionsalt": {"type": "string"},
            "encryptedkey": {"type": "string"},
        },
        "required": ["config"],
        "$defs": dict(sorted(definitions.items())),
    }


def _kind(name: str, model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """The keys of one kind, those that every kind has included."""
    schema = _without_null(model.model_json_schema(by_alias=True))
    definitions |= schema.pop("$defs", {})
    section = _without_null(ReleaseSection.model_json_schema(by_alias=True))
    definitions["ReleaseSection"] = section
    properties = {f"{PROJECT}:{key}": value for key, value in schema["properties"].items()}
    properties |= {
        f"{PROJECT}:masterKey": {**_SECRET, "description": "what every password is derived from"},
        f"{PROJECT}:alertWebhook": {
            "anyOf": [
                {**_SECRET, "description": "who is told of dates that were not confirmed"},
                {"const": ""},
            ]
        },
        f"{PROJECT}:releases": {
            "type": "object",
            "description": "rendered from the ledger: do not edit",
            "additionalProperties": {"$ref": "#/$defs/ReleaseSection"},
        },
        f"{PROJECT}:live": {"type": "string", "description": "rendered from the ledger"},
        f"{PROJECT}:basis": {"type": "object", "description": "rendered from the ledger"},
    }
    if name != "gcp":
        given = {**_SECRET, "description": "administrator's URL of a Postgres that somebody else runs"}
        properties[f"{PROJECT}:postgresUrl"] = {"anyOf": [given, {"const": ""}]}
    return {
        "title": name,
        "description": schema.get("description", ""),
        "properties": properties,
        "required": [f"{PROJECT}:{key}" for key in schema["required"]],
        # Keys of other packages are theirs; those of ours are all here.
        "propertyNames": {"anyOf": [{"enum": sorted(properties)}, {"not": {"pattern": f"^{PROJECT}:"}}]},
    }


def _without_null(value: Any) -> Any:
    """In a file a key is there or not; null is only how the code says "not there"."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    options = value.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        (other,) = [option for option in options if option != {"type": "null"}]
        rest = {key: item for key, item in value.items() if key not in ("anyOf", "default")}
        return _without_null({**other, **rest})
    return {key: _without_null(item) for key, item in value.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(config_json_schema(), indent=2, ensure_ascii=False) + "\n")
