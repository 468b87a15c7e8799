"""Train: one pipeline of scikit-learn from a configuration, always the same from the same rows. Pure.

It must not know MLflow, nor decide whether the model is any good.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from mlops_sdk.errors import InputError
from mlops_sdk.release.yaml_reader import read_document
from pipelines.movies.preparing import CATEGORIES, Examples

FIXED = Path(__file__).parent / "configuration.yaml"
SEED = 7
# HistGradientBoosting bins at most 255 categories; rarer ones are one.
_MOST_CATEGORIES = 60


class Configuration(BaseModel):
    """Parameters of a training: those of scikit-learn's HistGradientBoostingRegressor that matter here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_iter: Annotated[int, Field(ge=1, le=2000)] = 200
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.06
    max_leaf_nodes: Annotated[int, Field(ge=2, le=255)] = 15
    min_samples_leaf: Annotated[int, Field(ge=1, le=500)] = 20
    l2_regularization: Annotated[float, Field(ge=0, le=100)] = 1.0


def read_configuration(path: Path = FIXED) -> Configuration:
    """The fixed configuration of the automated mode. Raises InputError that names file, key and what is wrong."""
    try:
        document = read_document(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    if document.faults:
        raise InputError("\n".join(map(str, document.faults)), where=str(path))
    try:
        return Configuration.model_validate(document.value or {})
    except ValidationError as error:
        faults = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"the configuration is wrong:\n{faults}", where=str(path)) from error


def train(examples: Examples, configuration: Configuration) -> Pipeline:
    """A fitted pipeline: features as `preparing.features_of` gives them in, a rating out."""
    pipeline = make_pipeline(_encoder(), _regressor(configuration))
    with threadpool_limits(limits=1):  # so that sums have one order, and a laptop stays usable
        return pipeline.fit(examples.features, examples.ratings)


def _encoder() -> ColumnTransformer:
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,  # a category that was never seen is missing
        max_categories=_MOST_CATEGORIES,
    )
    encoder = ColumnTransformer(
        [("categories", codes, list(CATEGORIES))], remainder="passthrough", verbose_feature_names_out=False
    )
    encoder.set_output(transform="pandas")
    return encoder


def _regressor(configuration: Configuration) -> HistGradientBoostingRegressor:
    settings: dict[str, Any] = configuration.model_dump()
    return HistGradientBoostingRegressor(categorical_features=list(CATEGORIES), random_state=SEED, **settings)
