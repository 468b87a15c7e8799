"""MLflow's `POST /invocations`: JSON in its four forms, or CSV, and `{"predictions": [...]}`. Pure.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
Columns that the model does not have are left out, as MLflow does.
"""

import csv
import io
from typing import Any

import orjson

from mlops_sdk.serving.hot.lanes import Lane
from mlops_sdk.serving.hot.predict_api import problem_body, strict_json
from mlops_sdk.serving.hot.request import Head, HotRequest, Refusal
from mlops_sdk.serving.slots.inputs import Column, Inputs

_FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
_dumps = orjson.dumps


class ScoringEndpoint:
    """`POST /invocations`."""

    wants_arrays = False

    def read(self, request: HotRequest, inputs: Inputs) -> Any:
        """The rows of whichever form was sent."""
        if request.headers.get(b"content-type", b"").startswith(b"text/csv"):
            rows = _csv(request.body, inputs)
            request.body = b""  # what is logged is JSON text
            return rows
        document = strict_json(request)
        form = _form(document)
        value = document[form]
        if form == "dataframe_split":
            return _split(value, inputs)
        if form == "dataframe_records":
            return _records(value, inputs)
        if type(value) is dict:
            return _columns(value, inputs)
        if type(value) is list and value and type(value[0]) is dict:
            return _records(value, inputs)
        return value

    def write(self, request: HotRequest, lane: Lane, answers: Any) -> tuple[Head, bytes]:
        """One prediction a row."""
        del request
        return lane.json_head, b'{"predictions":%b}' % _dumps(answers)

    def problem(self, status: int, message: str) -> bytes:
        """See `problem_body`."""
        return problem_body(status, message)


def _form(document: Any) -> str:
    if type(document) is not dict:
        raise Refusal(422, f"expected an object with one of {', '.join(_FORMS)}")
    if document.get("params"):
        raise Refusal(422, "params: the model is asked without parameters")
    given = [form for form in _FORMS if form in document]
    if len(given) != 1 or document.keys() - {given[0], "params"}:
        raise Refusal(422, f"expected one of {', '.join(_FORMS)} and nothing else")
    return given[0]


def _split(value: Any, inputs: Inputs) -> list[Any]:
    if type(value) is not dict or type(value.get("data")) is not list:
        raise Refusal(422, "dataframe_split: expected an object with columns and data")
    rows: list[Any] = value["data"]
    columns = value.get("columns")
    if columns is None or not inputs.names or columns == list(inputs.names):
        return rows
    if type(columns) is not list or not all(type(each) is str for each in columns):
        raise Refusal(422, "dataframe_split.columns: expected a list of names")
    return _chosen(rows, columns, inputs)


def _chosen(rows: list[Any], columns: list[str], inputs: Inputs) -> list[Any]:
    """Rows of other or more columns as rows of the model's."""
    lacks = len(set(inputs.names) - set(columns))
    if lacks:
        raise Refusal(422, f"columns: {lacks} of the model's are missing")
    places = [columns.index(name) for name in inputs.names]
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != len(columns):
            raise Refusal(422, f"data[{number}]: expected a list of {len(columns)} values")
    return [[row[place] for place in places] for row in rows]


def _records(value: Any, inputs: Inputs) -> list[Any]:
    if type(value) is not list or not all(type(each) is dict for each in value):
        raise Refusal(422, "dataframe_records: expected a list of objects")
    names = inputs.names
    if not names:
        raise Refusal(422, "the model's inputs have no names: send lists")
    rows = []
    for number, record in enumerate(value):
        if not inputs.missing and (lacks := len(set(names) - record.keys())):
            raise Refusal(422, f"data[{number}]: {lacks} columns are missing")
        rows.append([record.get(name) for name in names])
    return rows


def _columns(value: dict[str, Any], inputs: Inputs) -> list[Any]:
    """`{"inputs": {"a": [1, 2], "b": [3, 4]}}`: a list of values a column."""
    names = inputs.names
    if not names or any(type(value.get(name)) is not list for name in names):
        raise Refusal(422, "inputs: expected a list of rows" + ", or of values for each column" * bool(names))
    lists = [value[name] for name in names]
    if len({len(each) for each in lists}) != 1:
        raise Refusal(422, "inputs: the columns have different numbers of values")
    return [list(row) for row in zip(*lists, strict=True)]


def _csv(body: bytes, inputs: Inputs) -> list[Any]:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise Refusal(400, "the body is no CSV in UTF-8") from None
    if not lines:
        raise Refusal(422, "expected a line of names and a line a row")
    names, rows = lines[0], [line for line in lines[1:] if line]
    if inputs.names:
        rows = _chosen(rows, names, inputs)
    return [
        [_cell(text, column) for text, column in zip(row, inputs.columns, strict=False)]
        if len(row) == inputs.width
        else row
        for row in rows
    ]


def _cell(text: str, column: Column) -> Any:
    """A cell by its column's type; what is none stays a text, which the check of types refuses by its place."""
    if column.kind == "text":
        return text
    if text == "":
        return None
    try:
        match column.kind:
            case "whole":
                return int(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case _:
                return float(text)
    except (ValueError, KeyError):
        return text
