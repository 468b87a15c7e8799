"""The Open Inference Protocol v2's `infer` over REST, with the binary tensor extension. Pure.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

Inputs are one tensor [rows, features] of any name, or one [rows] or [rows, 1] for each column by its name.
"""

from math import prod
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_sdk.serving.hot.lanes import Lane
from mlops_sdk.serving.hot.request import Head, HotRequest, Refusal
from mlops_sdk.serving.hot.tensors import DATATYPES, datatype_of, tensor_bytes, text_values
from mlops_sdk.serving.slots.inputs import Column, Inputs

OUTPUT = "predict"
_LENGTH = b"inference-header-content-length"
_WHOLE = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_FOR_KIND = {
    "number": _WHOLE | {"FP16", "FP32", "FP64"},
    "whole": _WHOLE,
    "boolean": frozenset({"BOOL"}),
    "text": frozenset({"BYTES"}),
}
_dumps = orjson.dumps


class TensorEndpoint:
    """`POST /v2/models/NAME/infer`."""

    wants_arrays = True

    def __init__(self, name: str) -> None:
        self._prefix = b'{"model_name":%b,"model_version":"' % _dumps(name)

    def read(self, request: HotRequest, inputs: Inputs) -> Any:
        """The rows of the input tensors; `options` becomes the id, and whether the output is wanted in binary."""
        document, tail = _parts(request)
        listed = document.get("inputs")
        if type(listed) is not list or not listed or not all(type(each) is dict for each in listed):
            raise Refusal(422, "inputs: expected a list of tensors")
        request.options = document.get("id"), _wants_binary(document)
        if len(listed) == 1 and (inputs.width > 1 or len(_shape(listed[0])) == 2):
            return _matrix(listed[0], inputs, tail)
        return _by_column(listed, inputs, tail)

    def write(self, request: HotRequest, lane: Lane, answers: NDArray[Any]) -> tuple[Head, bytes]:
        """One output tensor: [rows], or [rows, outputs]."""
        name, binary = request.options
        datatype = datatype_of(answers)
        said = b"" if name is None else b'"id":%b,' % _dumps(name)
        shape = _dumps(list(answers.shape))
        opened = b'%b%d",%b"outputs":[{"name":"%b","shape":%b,"datatype":"%b",' % (
            self._prefix,
            lane.snapshot.version,
            said,
            OUTPUT.encode(),
            shape,
            datatype.encode(),
        )
        if not binary:
            values = answers.ravel().tolist()
            if answers.dtype == object:
                values = [each if type(each) is str else _dumps(each).decode() for each in values]
            return lane.json_head, b'%b"data":%b}]}' % (opened, _dumps(values))
        data = tensor_bytes(answers)
        header = b'%b"parameters":{"binary_data_size":%d}}]}' % (opened, len(data))
        request.extra = (*request.extra, (b"inference-header-content-length", b"%d" % len(header)))
        return lane.binary_head, header + data

    def problem(self, status: int, message: str) -> bytes:
        """An error as the protocol says it."""
        del status
        return _dumps({"error": message})


def _parts(request: HotRequest) -> tuple[dict[str, Any], memoryview]:
    """The JSON part and the binary rest of a body."""
    headers, body = request.headers, request.body
    if b"content-encoding" in headers:
        raise Refusal(415, "send the body not compressed")
    given = headers.get(_LENGTH)
    if given is not None:
        if not given.isdigit() or int(given) > len(body):
            raise Refusal(400, "Inference-Header-Content-Length is no length of the body's JSON part")
        size = int(given)
        view = memoryview(body)
        text, tail = view[:size], view[size:]
        request.body = b""  # what is logged is JSON text
    else:
        if not headers.get(b"content-type", b"application/json").startswith(b"application/json"):
            raise Refusal(415, "send JSON, or binary tensors with Inference-Header-Content-Length")
        text, tail = memoryview(body), memoryview(b"")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}, at character {error.pos}") from None
    if type(document) is not dict:
        raise Refusal(422, "expected an object with a list `inputs`")
    if not isinstance(document.get("id"), str | None):
        raise Refusal(422, "id: expected a string")
    return document, tail


def _wants_binary(document: dict[str, Any]) -> bool:
    parameters, outputs = document.get("parameters"), document.get("outputs")
    wanted = type(parameters) is dict and parameters.get("binary_data_output") is True
    if outputs is None:
        return wanted
    if type(outputs) is not list or not all(type(each) is dict for each in outputs):
        raise Refusal(422, "outputs: expected a list of objects")
    for output in outputs:
        if output.get("name") != OUTPUT:
            raise Refusal(422, f"outputs: there is only {OUTPUT}")
        own = output.get("parameters")
        if type(own) is dict and "binary_data" in own:
            wanted = own["binary_data"] is True
    return wanted


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    if type(shape) is not list or not all(type(each) is int and 0 <= each < 2**31 for each in shape):
        raise Refusal(422, f"{_name(tensor)}: shape: expected a list of sizes")
    return shape


def _name(tensor: dict[str, Any]) -> str:
    name = tensor.get("name")
    return name if type(name) is str else "inputs[]"


def _matrix(tensor: dict[str, Any], inputs: Inputs, tail: memoryview) -> Any:
    """All features in one tensor."""
    shape = _shape(tensor)
    if len(shape) != 2 or shape[1] != inputs.width:
        raise Refusal(422, f"{_name(tensor)}: shape: expected [rows, {inputs.width}], got {shape}")
    for column in inputs.columns:
        _check_datatype(tensor, column)
    if "data" in tensor:
        data = tensor["data"]
        if type(data) is list and data and type(data[0]) is list:
            if len(data) != shape[0]:
                raise Refusal(422, f"{_name(tensor)}: data: expected {shape[0]} rows, got {len(data)}")
            return data
        _check_count(tensor, data, prod(shape))
        if shape[0] == 1:
            return [data]
        width = shape[1]
        return [data[first : first + width] for first in range(0, len(data), width)]
    values, rest = _binary(tensor, tail)
    if rest:
        raise Refusal(400, f"{len(rest)} bytes are left after the tensors")
    return inputs.checked(values.reshape(shape).astype(inputs.dtype, copy=False))


def _by_column(listed: list[dict[str, Any]], inputs: Inputs, tail: memoryview) -> Any:
    """A tensor for each column."""
    names = inputs.names
    given = {_name(tensor): tensor for tensor in listed}
    if not names or len(given) != len(listed) or given.keys() != set(names):
        raise Refusal(
            422, f"inputs: expected one tensor [rows, {inputs.width}]" + ", or one a column" * bool(names)
        )
    columns: dict[str, Any] = {}
    for tensor in listed:  # binary data is in the order of the request's tensors
        column = inputs.columns[names.index(_name(tensor))]
        shape = _shape(tensor)
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            raise Refusal(422, f"{column.name}: shape: expected [rows] or [rows, 1], got {shape}")
        _check_datatype(tensor, column)
        if "data" in tensor:
            values = tensor["data"]
            if type(values) is list and values and type(values[0]) is list:
                values = [each[0] if type(each) is list and len(each) == 1 else None for each in values]
            _check_count(tensor, values, shape[0])
        else:
            array, tail = _binary(tensor, tail)
            values = array.ravel().tolist()
        columns[column.name] = values
    if tail:
        raise Refusal(400, f"{len(tail)} bytes are left after the tensors")
    if len({len(values) for values in columns.values()}) != 1:
        raise Refusal(422, "inputs: the tensors have different numbers of rows")
    return [list(row) for row in zip(*(columns[name] for name in names), strict=True)]


def _check_datatype(tensor: dict[str, Any], column: Column) -> None:
    datatype = tensor.get("datatype")
    if type(datatype) is not str or datatype not in _FOR_KIND[column.kind]:
        wanted = ", ".join(sorted(_FOR_KIND[column.kind]))
        raise Refusal(422, f"{_name(tensor)}: datatype: expected one of {wanted}")


def _check_count(tensor: dict[str, Any], data: Any, count: int) -> None:
    if type(data) is not list or len(data) != count:
        got = len(data) if type(data) is list else "no list"
        raise Refusal(422, f"{_name(tensor)}: data: expected {count} values, got {got}")


def _binary(tensor: dict[str, Any], tail: memoryview) -> tuple[NDArray[Any], memoryview]:
    """A tensor's values from the binary rest, and what is left of it."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    if type(size) is not int or not 0 <= size <= len(tail):
        raise Refusal(422, f"{_name(tensor)}: expected data, or binary_data_size within the body")
    count, datatype = prod(_shape(tensor)), tensor["datatype"]
    part, rest = tail[:size], tail[size:]
    if datatype == "BYTES":
        texts = text_values(part)
        if texts is None or len(texts) != count:
            raise Refusal(422, f"{_name(tensor)}: the binary data are no {count} texts")
        found = np.empty(count, dtype=object)
        found[:] = texts
        return found, rest
    kind = DATATYPES[datatype]
    if size != count * kind.itemsize:
        raise Refusal(422, f"{_name(tensor)}: expected {count * kind.itemsize} bytes, got {size}")
    return np.frombuffer(part, dtype=kind), rest
