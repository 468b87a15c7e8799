"""The hot paths in FastAPI's OpenAPI document: they are not FastAPI's routes, but a client must find them. Pure."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_NUMBER_ROWS = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "array", "items": {"type": ["number", "string", "boolean", "null"]}},
}
_NAMED_ROWS = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
_PROTOCOL_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "examples": ["FP64"]},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}


def with_hot_paths(api: FastAPI) -> Callable[[], dict[str, Any]]:
    """The function that makes the document of `api`, once."""

    def document() -> dict[str, Any]:
        if api.openapi_schema is None:
            found = get_openapi(title=api.title, version=api.version, routes=api.routes)
            _tell_our_errors(found)
            for path, operations in _hot_paths().items():
                found["paths"].setdefault(path, {}).update(operations)
            api.openapi_schema = found
        return api.openapi_schema

    return document


def _tell_our_errors(document: dict[str, Any]) -> None:
    """Errors have our form, not FastAPI's."""
    for path, operations in document["paths"].items():
        schema = _PROTOCOL_ERROR if path.startswith("/v2") else _ERROR
        for operation in operations.values():
            content = {"application/json": {"schema": schema}}
            operation["responses"]["default"] = {"description": "An error", "content": content}
            operation["responses"].pop("422", None)


def _hot_paths() -> dict[str, dict[str, Any]]:
    infer = _operation(
        "infer",
        "Predict, by the Open Inference Protocol; binary tensors with Inference-Header-Content-Length",
        "open inference protocol",
        {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
                "outputs": {"type": "array", "items": {"type": "object"}},
                "parameters": {"type": "object"},
            },
        },
        {"type": "object", "required": ["model_name", "model_version", "outputs"]},
        _PROTOCOL_ERROR,
    )
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/predict": {
            "post": _operation(
                "predict",
                "Predict rows: lists in the order of the model's columns, or objects by column",
                "canary",
                {
                    "type": "object",
                    "required": ["data"],
                    "additionalProperties": False,
                    "properties": {"data": {"anyOf": [_NUMBER_ROWS, _NAMED_ROWS]}},
                    "examples": [{"data": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]}],
                },
                {
                    "type": "object",
                    "required": ["predictions", "model_used"],
                    "properties": {
                        "predictions": {"type": "array", "items": {}},
                        "model_used": {"enum": ["current", "next"]},
                    },
                },
                _ERROR,
            )
        },
        "/invocations": {
            "post": _operation(
                "invocations",
                "Predict, as MLflow's scoring server: dataframe_split, dataframe_records, instances, inputs, or CSV",
                "mlflow",
                {"type": "object", "minProperties": 1},
                {"type": "object", "required": ["predictions"]},
                _ERROR,
            )
        },
        "/v2/models/{model}/infer": {"post": {**infer, "parameters": [model]}},
        "/v2/models/{model}/versions/{version}/infer": {
            "post": {**infer, "operationId": "infer_version", "parameters": [model, version]}
        },
    }


def _operation(
    name: str, summary: str, tag: str, body: dict[str, Any], answer: dict[str, Any], error: dict[str, Any]
) -> dict[str, Any]:
    codes = {
        "400": "The body is not JSON",
        "404": "No slot holds the model",
        "413": "The body is too large",
        "415": "Another content type",
        "422": "Rows that the model does not take; the message names the field",
        "503": "No model is loaded, or too many requests wait",
    }
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": answer}}},
            **{
                code: {"description": said, "content": {"application/json": {"schema": error}}}
                for code, said in codes.items()
            },
        },
    }
