"""Loads a model from the folder of its artifact, as lightly as its flavour allows.

A scikit-learn model is read without importing mlflow, which saves a service about 50 MB and a second; every
other flavour goes through `mlflow.pyfunc`. Loading runs code that the artifact holds, so folders come from
the project's registry only, verified. It must not download.
"""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.registry.artifact import read_mlmodel
from mlops_sdk.registry.models import MLmodel

if TYPE_CHECKING:
    import pandas as pd

_PICKLES = ("pickle", "cloudpickle")
_SKOPS = "skops"  # MLflow's default since 3.5


class Model(Protocol):
    """A loaded model."""

    def predict(self, data: "pd.DataFrame") -> Any:
        """One answer a row of `data`: an array, Series, DataFrame or list, as the model has it."""


class SklearnModel:
    """A scikit-learn model behind the interface of MLflow's python_function.

    `predict` calls the method that the model was logged with (`pyfunc_predict_fn`) on the columns of the
    signature, in its order. Unlike MLflow it checks names only, not types. `estimator` is the model itself, `method`
    that method of it, for who has an array of the right columns.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        method: str,
        columns: tuple[str, ...],
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self.estimator = estimator
        self.method = getattr(estimator, method)
        self._columns = columns
        self._optional = optional

    def predict(self, data: "pd.DataFrame") -> Any:
        """One answer a row. Raises InputError that names the columns which `data` lacks.

        An optional column that is not there is not passed on: whether it can do without is the model's affair.
        """
        if not self._columns:
            return self.method(data)
        there = [column for column in self._columns if column in data.columns]
        missing = [column for column in self._columns if column not in there and column not in self._optional]
        if missing:
            raise InputError(f"the model's input lacks the columns {', '.join(missing)}")
        return self.method(data[there])


def load(folder: Path) -> Model:
    """The model in `folder`.

    Raises InputError if it holds no MLflow model, MlopsError if it does not load here: a package is missing,
    or another version of one wrote it.
    """
    mlmodel = read_mlmodel(folder)
    try:
        if _is_plain_sklearn(mlmodel):
            return _load_sklearn(folder, mlmodel)
        return _load_pyfunc(folder)
    except (ImportError, AttributeError, pickle.UnpicklingError, OSError) as error:
        raise MlopsError(
            f"the model does not load: {error}",
            where=str(folder),
            remedy="the release's dependencies need what the model was trained with: requirements.txt there",
        ) from error


def _is_plain_sklearn(mlmodel: MLmodel) -> bool:
    function, sklearn = mlmodel.flavors.get("python_function", {}), mlmodel.flavors.get("sklearn", {})
    return (
        function.get("loader_module") == "mlflow.sklearn"
        and sklearn.get("serialization_format") in (*_PICKLES, _SKOPS)
        # Code beside the model must be put on Python's path: MLflow does that.
        and not function.get("code")
        and not sklearn.get("code")
    )


def _load_sklearn(folder: Path, mlmodel: MLmodel) -> SklearnModel:
    flavor = mlmodel.flavors["sklearn"]
    path = folder / flavor["pickled_model"]
    if flavor["serialization_format"] == _SKOPS:
        estimator = _read_skops(path, flavor.get("skops_trusted_types") or [])
    else:
        with path.open("rb") as stream:
            # What is unpickled was verified against the release's digest of the registry's artifact.
            estimator = pickle.load(stream)  # noqa: S301
    method = mlmodel.flavors["python_function"].get("predict_fn") or "predict"
    return SklearnModel(
        estimator, method=method, columns=mlmodel.input_names, optional=mlmodel.optional_inputs
    )


def _read_skops(path: Path, trusted: list[str]) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        # The types beyond scikit-learn's harmless ones are those that were trusted when the model was logged.
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        raise MlopsError(f"the model does not load: {error}", where=str(path)) from error


def _load_pyfunc(folder: Path) -> Model:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    try:
        model: Model = mlflow.pyfunc.load_model(str(folder))
    except MlflowException as error:
        raise MlopsError(f"the model does not load: {error}", where=str(folder)) from error
    return model
