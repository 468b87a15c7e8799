"""Scores the films of an extract with a model, and writes a date's rows once. It must not know who asks, nor train."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import psycopg

from mlops_sdk.errors import PolicyError
from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.messaging.once import once
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import load
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings
from pipelines.movies.evaluating import Model, rmse
from pipelines.movies.extracting import Extract
from pipelines.movies.preparing import TARGET, features_of

MODEL_KEY = "rating"
MARKS = "film_ratings_marks"
LEAST, MOST = 1.0, 10.0  # points of IMDB
_COPY = "COPY film_ratings (run_date, film_id, title, predicted, rated, model_version) FROM STDIN"


@dataclass(frozen=True, eq=False)
class Scored:
    """The extract's rows with column `predicted`, by one version of the model."""

    rows: pd.DataFrame
    model_version: int
    data_digest: str

    def summary(self) -> dict[str, Any]:
        """JSON data, kept as the run's result; `rmse` is of the films that have a rating, None without any."""
        rated = self.rows[self.rows[TARGET].notna()]
        errors = rated[TARGET].to_numpy(dtype=np.float64) - rated["predicted"].to_numpy(dtype=np.float64)
        return {
            "films": len(self.rows),
            "unrated": len(self.rows) - len(rated),
            "rmse": round(rmse(errors), 4) if len(rated) else None,
            "mean_predicted": round(float(self.rows["predicted"].mean()), 4),
            "model_version": self.model_version,
            "data_digest": self.data_digest,
        }


def own_model(settings: ServiceSettings) -> tuple[ModelPin, Model]:
    """The release's rating model, verified by the digest in its lock. Raises PolicyError, UnreachableError."""
    if MODEL_KEY not in settings.models:
        raise PolicyError(
            f"the release has no model `{MODEL_KEY}`",
            where="the manifest's models",
            remedy=f"add {MODEL_KEY}: {{name: movie-rating, alias: champion}}",
        )
    pin = settings.models[MODEL_KEY]
    registry = Registry(settings.mlflow_tracking_uri)
    return pin, load(registry.download(pin.name, pin.version, pin.digest, settings.model_cache))


def score(extract: Extract, model: Model, version: int) -> Scored:
    """Every film of the extract, also those that nobody rated; predictions are kept within the scale. Pure."""
    predicted = np.asarray(model.predict(features_of(extract.rows)), dtype=np.float64)
    return Scored(extract.rows.assign(predicted=predicted.clip(LEAST, MOST)), version, extract.data_digest)


def write(conn: psycopg.Connection[Any], message: Envelope, day: date, scored: Scored) -> int | None:
    """Replace the date's rows, with the mark, in one transaction; how many, None if the mark is there already.

    Raises PolicyError for a release that is not live. Nothing is written then.
    """
    try:
        with conn.transaction():
            if not once(conn, MARKS, message):
                return None
            conn.execute("DELETE FROM film_ratings WHERE run_date = %s", [day])
            with conn.cursor().copy(_COPY) as copy:
                for row in _rows(day, scored):
                    copy.write_row(row)
    except psycopg.errors.InsufficientPrivilege as error:
        raise PolicyError(
            "this release may not write: it is not live", remedy="the live release's consumer does the job"
        ) from error
    return len(scored.rows)


def _rows(day: date, scored: Scored) -> Iterator[tuple[Any, ...]]:
    columns = scored.rows[["film_id", "title", "predicted", TARGET]]
    for film_id, title, predicted, rated in columns.itertuples(index=False, name=None):
        known = None if pd.isna(rated) else float(rated)
        yield (day, int(film_id), title, float(predicted), known, scored.model_version)
