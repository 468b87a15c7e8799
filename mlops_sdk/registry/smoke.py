"""Smoke predictions: what a model answers to the example that it was registered with.

`python -m mlops_sdk.registry.smoke FOLDER` prints `{"input": [...], "output": [...]}` as JSON. Locking
runs it in the release's dependency environment, so that the recorded answer is that of the packages which
will serve; the service calls `predict` on the same input. It must not download.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.registry.artifact import read_mlmodel
from mlops_sdk.registry.compare import DEFAULT_TOLERANCE, compare, differences
from mlops_sdk.registry.load import Model, load
from mlops_sdk.release.lock import Smoke

__all__ = ["DEFAULT_TOLERANCE", "compare", "differences", "main", "predict", "read_example", "run"]


def run(folder: Path) -> Smoke | None:
    """The smoke prediction of the model in `folder`; None if it was registered without an example."""
    rows = read_example(folder)
    return None if rows is None else Smoke(input=rows, output=predict(load(folder), rows))


def read_example(folder: Path) -> list[JsonValue] | None:
    """The rows of a model's input example: objects by column, or arrays. None if it has none.

    Raises InputError for an example of another form than a table or an array.
    """
    example = read_mlmodel(folder).input_example
    if example is None:
        return None
    path = folder / str(example.get("artifact_path"))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("the input example is not readable JSON", where=str(path)) from error
    match document:
        case {"columns": list(columns), "data": list(data)} if all(isinstance(name, str) for name in columns):
            return [dict(zip(columns, row, strict=True)) for row in data]
        case {"data": list(data)} | {"inputs": list(data)} | {"instances": list(data)}:
            return data
        case list() if all(isinstance(row, dict | list) for row in document):
            return document
        case _:
            raise InputError(
                "the input example is neither a table nor an array",
                where=str(path),
                remedy="log the model with a pandas DataFrame as input_example",
            )


def predict(model: Model, rows: list[JsonValue]) -> list[JsonValue]:
    """The model's answers to `rows` (see `Smoke`) as plain JSON, one a row; NaN becomes null.

    Raises MlopsError if it gives another number of answers.
    """
    import pandas as pd

    answers = _plain(model.predict(pd.DataFrame(rows)))
    if not isinstance(answers, list) or len(answers) != len(rows):
        given = len(answers) if isinstance(answers, list) else "no list of"
        raise MlopsError(f"the model gave {given} answers to {len(rows)} rows")
    return answers


def _plain(value: Any) -> Any:
    """Plain JSON of what a model answers: arrays and Series as lists, a DataFrame as a list of objects."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [_plain(row) for row in value.to_dict(orient="records")]
    if hasattr(value, "toarray"):  # a sparse matrix
        return _plain(value.toarray())
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 and the JSON on standard output, or an exit code and a message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m mlops_sdk.registry.smoke", description="Smoke-test a model."
    )
    parser.add_argument("folder", type=Path, help="folder of the model's artifact")
    folder: Path = parser.parse_args(arguments).folder
    try:
        smoke = run(folder)
    except MlopsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(smoke.document() if smoke else None) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
