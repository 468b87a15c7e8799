"""What a model takes, from its MLflow signature, and whether rows of a request are that. Pure.

Types are checked once for everything that one call predicts; which cell is wrong is looked for only when something is.
It must not load a model or know a protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.errors import InputError

# Types of MLflow's columns by what JSON has for them.
# https://mlflow.org/docs/latest/ml/model/signatures/
_NUMBERS = frozenset({"double", "float"})
_WHOLE = frozenset({"long", "integer"})
_OF_TENSORS = {
    "f": "double",
    "i": "long",
    "u": "long",
    "b": "boolean",
    "U": "string",
    "S": "string",
    "O": "string",
}
_SAID = {"number": "a number", "whole": "a whole number", "boolean": "true or false", "text": "a string"}

Kind = Literal["number", "whole", "boolean", "text"]
_TYPES: dict[Kind, frozenset[type]] = {
    "number": frozenset({float, int}),
    "whole": frozenset({int}),
    "boolean": frozenset({bool}),
    "text": frozenset({str}),
}
_NOTHING = type(None)


@dataclass(frozen=True)
class Column:
    """One feature. `name` is empty where the signature has none; `type` is MLflow's, `kind` what JSON must have."""

    name: str
    type: str
    kind: Kind
    required: bool = True


@dataclass(frozen=True)
class Inputs:
    """The features of a model in order.

    `dtype` is that of the matrix which the predictor gets; object where a column is text. With `missing`, null (NaN
    in a binary tensor) means that a value is not there; else it is refused.
    """

    columns: tuple[Column, ...]
    dtype: np.dtype[Any]
    missing: bool = False
    _types: frozenset[type] = field(init=False, repr=False, default=frozenset())
    _alike: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        kinds = {column.kind for column in self.columns}
        object.__setattr__(self, "_alike", len(kinds) == 1)
        types = _TYPES[next(iter(kinds))] if len(kinds) == 1 else frozenset()
        object.__setattr__(self, "_types", types | {_NOTHING} if self.missing else types)

    @property
    def width(self) -> int:
        """How many features a row has."""
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names; empty if they have none."""
        return tuple(column.name for column in self.columns) if self.columns[0].name else ()

    @property
    def has_text(self) -> bool:
        """Whether a column is text, so that no matrix of numbers holds a row."""
        return self.dtype == object

    def matrix(self, rows: Sequence[Any]) -> NDArray[Any]:
        """The matrix [rows, width] of rows as JSON has them: lists in the order of the columns.

        Raises InputError that names the first cell which is none that the signature allows.
        """
        if set(map(type, rows)) != {list} or set(map(len, rows)) != {self.width} or not self._typed(rows):
            raise self.fault(rows)
        try:
            matrix = np.array(rows, dtype=self.dtype)
        except (OverflowError, ValueError, TypeError):
            raise self.fault(rows) from None
        return self.checked(matrix)

    def checked(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """`matrix` if its numbers are finite, or NaN where a value may be missing. Raises InputError."""
        if self.has_text:
            return matrix
        # One sum instead of a look at each cell: it is finite unless a cell is not, or numbers are huge.
        if not np.isfinite(matrix.sum()):
            wrong = np.isinf(matrix) if self.missing else ~np.isfinite(matrix)
            if wrong.any():
                row, column = (int(place) for place in np.argwhere(wrong)[0])
                raise InputError(f"data[{row}][{column}]: not a finite number")
        return matrix

    def fault(self, rows: Sequence[Any]) -> InputError:
        """What is wrong with rows that are no matrix of these columns."""
        for place, row in enumerate(rows):
            if type(row) is not list:
                return InputError(f"data[{place}]: expected a list of {self.width} values")
            if len(row) != self.width:
                return InputError(f"data[{place}]: expected {self.width} values, got {len(row)}")
            for number, (value, column) in enumerate(zip(row, self.columns, strict=True)):
                if value is None and self.missing:
                    continue
                if type(value) not in _TYPES[column.kind]:
                    what = f"expected {_SAID[column.kind]}, got {_named(value)}"
                    return InputError(f"data[{place}][{number}]: {what}")
                if isinstance(value, int) and abs(value) >= 2**63:
                    return InputError(f"data[{place}][{number}]: the number is too large")
        return InputError("data: the rows are no matrix of the model's inputs")

    def ordered(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Rows that are objects by column, as lists in order. Raises InputError for other names than the columns'."""
        names = self.names
        if not names:
            raise InputError("data[0]: expected a list, the model's inputs have no names")
        known = set(names)
        found = []
        for place, row in enumerate(rows):
            if type(row) is not dict:
                raise InputError(f"data[{place}]: expected an object, as the first row is")
            if row.keys() != known:
                # What the client wrote is named; what the model has is not told to who does not know it.
                lacks, more = len(known - row.keys()), sorted(row.keys() - known)
                said = [f"{lacks} columns are missing"] * bool(lacks) + [
                    f"unknown: {', '.join(more)}"
                ] * bool(more)
                raise InputError(f"data[{place}]: {'; '.join(said)}")
            found.append([row[name] for name in names])
        return found

    def _typed(self, rows: Sequence[list[Any]]) -> bool:
        if self._alike:
            return set(map(type, chain.from_iterable(rows))) <= self._types
        for column, values in zip(self.columns, zip(*rows, strict=True), strict=True):
            allowed = _TYPES[column.kind] | {_NOTHING} if self.missing else _TYPES[column.kind]
            if not set(map(type, values)) <= allowed:
                return False
        return True


def inputs_of(
    signature: Mapping[str, Any] | None, *, width: int | None = None, missing: bool = False
) -> Inputs:
    """The inputs that a signature's list `inputs` describes: columns, or one tensor of two dimensions.

    Without a signature, `width` numbers. Raises InputError for what cannot be served by rows: no signature and no
    width, several tensors, tensors of other shapes, columns of dates, bytes, arrays or objects.
    """
    listed = (signature or {}).get("inputs") or []
    if not listed:
        if not width:
            raise InputError(
                "the model has no signature",
                remedy="log it with signature= or input_example=, so that requests can be checked",
            )
        return Inputs(
            tuple(Column("", "double", "number") for _ in range(width)), np.dtype(np.float64), missing
        )
    if "tensor-spec" in listed[0]:
        return _of_tensor(listed, missing)
    columns = tuple(_column(each) for each in listed)
    kinds = {column.kind for column in columns}
    if "text" in kinds:
        return Inputs(columns, np.dtype(object), missing)
    single = all(column.type == "float" for column in columns)
    return Inputs(columns, np.dtype(np.float32 if single else np.float64), missing)


def _of_tensor(listed: Sequence[Mapping[str, Any]], missing: bool) -> Inputs:
    spec = listed[0]["tensor-spec"]
    shape, dtype = list(spec.get("shape", [])), np.dtype(spec.get("dtype", "float64"))
    if len(listed) != 1 or len(shape) != 2 or shape[1] < 1 or dtype.kind not in _OF_TENSORS:
        raise InputError(
            f"the model takes tensors of shape {shape}, only one tensor [rows, features] can be served",
            remedy="log it with a signature of columns or of one matrix",
        )
    name = _OF_TENSORS[dtype.kind]
    # Half precision and whole numbers are computed as the model would get them from JSON.
    kept = dtype if dtype in (np.float32, np.float64, np.int64) else np.dtype(np.float64)
    column = Column("", name, _kind(name))
    return Inputs((column,) * shape[1], np.dtype(object) if column.kind == "text" else kept, missing)


def _column(entry: Mapping[str, Any]) -> Column:
    name = str(entry.get("type"))
    return Column(str(entry.get("name", "")), name, _kind(name), bool(entry.get("required", True)))


def _kind(name: str) -> Kind:
    if name in _NUMBERS:
        return "number"
    if name in _WHOLE:
        return "whole"
    if name == "boolean":
        return "boolean"
    if name == "string":
        return "text"
    raise InputError(f"the model has an input of type {name}, which cannot be served by rows")


def _named(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
