"""The trainer that comes with the SDK: scikit-learn estimators by name, text columns one-hot encoded.

A project names its own by `--trainer package.module:function`. It must not log anything: `training` does.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlops_sdk.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]
ESTIMATORS: dict[str, dict[Task, str]] = {
    "linear": {"classification": "linear_model.LogisticRegression", "regression": "linear_model.Ridge"},
    "random_forest": {
        "classification": "ensemble.RandomForestClassifier",
        "regression": "ensemble.RandomForestRegressor",
    },
    "gradient_boosting": {
        "classification": "ensemble.HistGradientBoostingClassifier",
        "regression": "ensemble.HistGradientBoostingRegressor",
    },
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "linear_model.LogisticRegression": {"max_iter": 1000},
    "ensemble.RandomForestClassifier": {"random_state": 0},
    "ensemble.RandomForestRegressor": {"random_state": 0},
    "ensemble.HistGradientBoostingClassifier": {"random_state": 0},
    "ensemble.HistGradientBoostingRegressor": {"random_state": 0},
}


def task_of(target: "pd.Series[Any]") -> Task:
    """Classification for text, truth values and few whole numbers; else regression."""
    if target.dtype.kind == "f":
        return "regression"
    return "classification" if target.dtype.kind not in "iu" or target.nunique() <= 20 else "regression"


def check_estimator(name: str) -> None:
    """Raises InputError for a name that is none of this trainer's."""
    if name not in ESTIMATORS:
        raise InputError(f"no estimator {name!r}: one of {', '.join(ESTIMATORS)}", where="estimator")


def train(
    rows: "pd.DataFrame",
    target: "pd.Series[Any]",
    *,
    estimator: str,
    task: Task,
    parameters: Mapping[str, Any],
) -> Any:
    """A fitted estimator. Raises InputError for an unknown estimator or parameter."""
    import importlib

    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    check_estimator(estimator)
    module, _, name = ESTIMATORS[estimator][task].rpartition(".")
    kind = getattr(importlib.import_module(f"sklearn.{module}"), name)
    try:
        fitted = kind(**{**_DEFAULTS.get(f"{module}.{name}", {}), **parameters})
    except TypeError as error:
        raise InputError(f"{name} takes no such parameter: {error}", where="parameters") from error
    if estimator == "linear":
        fitted = make_pipeline(StandardScaler(), fitted)
    text = [column for column in rows.columns if rows[column].dtype.kind not in "fiub"]
    if text:
        encoder = ColumnTransformer(
            [("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), text)],
            remainder="passthrough",
        )
        fitted = Pipeline([("encode", encoder), ("model", fitted)])
    return fitted.fit(rows, target)
