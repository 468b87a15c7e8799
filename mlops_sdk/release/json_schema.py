"""The JSON Schema of a manifest, from the same fields that read one.

`python -m mlops_sdk.release.json_schema` prints it; stacks/manifest.schema.json is its output.
"""

import json
import sys
from typing import Any

from mlops_sdk.release.manifest import Manifest


def manifest_json_schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, for editors. `stacks/manifest.schema.json` is this."""
    schema = Manifest.model_json_schema(by_alias=True)
    model = schema["$defs"]["ModelRef"]
    for name in ("version", "alias"):
        _without_null(model["properties"][name])
    for name in ("models", "flows"):
        schema["properties"][name]["additionalProperties"] = False
    model["oneOf"] = [{"required": ["version"]}, {"required": ["alias"]}]
    for name in ("state", "service", "jobs"):
        _without_null(schema["properties"][name])
    schema["properties"]["data"]["uniqueItems"] = True
    _without_null(schema["$defs"]["FlowSpec"]["properties"]["schedule"])
    _reference(schema["properties"]["shift"])
    gates = schema["$defs"]["Gates"]["properties"]
    for name in ("catch_up", "error_rate", "latency", "prediction_drift"):
        _reference(gates[name])
    end = schema["$defs"]["StepEnd"]
    for name in ("seconds", "requests"):
        _without_null(end["properties"][name])
    end["oneOf"] = [{"required": ["seconds"]}, {"required": ["requests"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Release manifest"}


def _without_null(field: dict[str, Any]) -> None:
    # In a file a key is there or not; null is only how the code says "not there".
    field.update(next(option for option in field.pop("anyOf") if option.get("type") != "null"))
    field.pop("default", None)


def _reference(field: dict[str, Any]) -> None:
    field.update(next(option for option in field.pop("anyOf") if "$ref" in option))
    field.pop("default", None)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(manifest_json_schema(), indent=2) + "\n")
