"""A model's own predict behind the interface of compiled predictors: a matrix in, one answer a row out.

It imports the model's packages. It must not download.
"""

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.errors import MlopsError
from mlops_sdk.registry.load import Model, SklearnModel, load
from mlops_sdk.serving.slots.inputs import Inputs

Form = Literal["array", "frame"]
"""How a model is asked: an array, or a pandas DataFrame, which costs more than most models do."""

_PANDAS = {
    "long": "int64",
    "integer": "int32",
    "double": "float64",
    "float": "float32",
    "boolean": "bool",
    "string": "object",
}


class OwnPredictor:
    """`model`, asked in `form`."""

    def __init__(self, model: Model, inputs: Inputs, form: Form) -> None:
        self.model = model
        self._inputs = inputs
        self._form = form
        self._predict: Callable[[Any], Any] = model.predict
        if isinstance(model, SklearnModel) and form == "array":
            self._predict = model.method

    def predict(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The answers, first axis rows. Raises whatever the model raises, MlopsError for another number of answers."""
        given = matrix if self._form == "array" else frame_of(matrix, self._inputs)
        answers = as_array(self._predict(given))
        if answers.ndim == 0 or len(answers) != len(matrix):
            raise MlopsError(
                f"the model gave {len(answers) if answers.ndim else 1} answers to {len(matrix)} rows"
            )
        return answers


def open_own(folder: Path, inputs: Inputs, form: Form, *, only_checked: bool) -> OwnPredictor:
    """The model of an artifact's folder, loaded. Raises what `registry.load.load` raises.

    `only_checked`: nobody in this process asks a scikit-learn model but with rows that `Inputs` has checked.
    """
    model = load(folder)
    if isinstance(model, SklearnModel) and only_checked:
        _quiet_sklearn()
    return OwnPredictor(model, inputs, form)


def frame_of(matrix: NDArray[Any], inputs: Inputs) -> Any:
    """The DataFrame that MLflow would make of the same rows: named and typed columns."""
    import pandas as pd

    frame = pd.DataFrame(matrix, columns=list(inputs.names) or None)
    types = {}
    for name, column in zip(frame.columns, inputs.columns, strict=True):
        lost = inputs.missing and bool(frame[name].isna().any())
        # A whole number that is missing has no whole type.
        types[name] = "float64" if lost and column.kind in ("whole", "boolean") else _PANDAS[column.type]
    return frame.astype(types)


def as_array(answers: Any) -> NDArray[Any]:
    """What a model answered as an array, first axis rows; objects by column where it was a DataFrame."""
    if hasattr(answers, "to_dict") and hasattr(answers, "columns"):
        rows = answers.to_dict(orient="records")
        found = np.empty(len(rows), dtype=object)
        found[:] = rows
        return found
    if hasattr(answers, "toarray"):
        answers = answers.toarray()
    if isinstance(answers, list | tuple) and any(isinstance(each, dict | list) for each in answers):
        found = np.empty(len(answers), dtype=object)
        found[:] = list(answers)
        return found
    return np.asarray(answers)


def seconds_of(predict: Callable[[NDArray[Any]], Any], rows: NDArray[Any], *, tries: int = 5) -> float:
    """How long a call takes at best, after one that warms."""
    predict(rows)
    best = math.inf
    for _ in range(tries):
        began = time.perf_counter()
        predict(rows)
        best = min(best, time.perf_counter() - began)
    return best


def _quiet_sklearn() -> None:
    """Rows were checked at the door: scikit-learn need not look for NaN again, nor miss names that are in order."""
    import sklearn

    sklearn.set_config(assume_finite=True)
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
