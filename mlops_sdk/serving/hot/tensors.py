"""Datatypes of the Open Inference Protocol, and tensors as bytes: little endian, texts with their length. Pure."""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_LENGTH_BYTES = 4


def datatype_of(values: NDArray[Any]) -> str:
    """The protocol's name of an array's type; BYTES for texts and objects."""
    return _NAMES.get(values.dtype, "BYTES")


def tensor_bytes(values: NDArray[Any]) -> bytes:
    """An array as the binary extension has it."""
    if values.dtype in _NAMES:
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = []
    for value in values.ravel().tolist():
        text = value.encode() if isinstance(value, str) else orjson.dumps(value)
        parts += [len(text).to_bytes(_LENGTH_BYTES, "little"), text]
    return b"".join(parts)


def text_values(data: memoryview) -> list[str] | None:
    """The texts of a BYTES tensor; None if the bytes are none."""
    found, place = [], 0
    while place < len(data):
        first = place + _LENGTH_BYTES
        place = first + int.from_bytes(data[place:first], "little")
        if place > len(data):
            return None
        try:
            found.append(bytes(data[first:place]).decode())
        except UnicodeDecodeError:
            return None
    return found
