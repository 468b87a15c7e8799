"""Training, step by step: read the source, fit and evaluate each recipe. Plain functions of their arguments.

Every fit has a fixed seed: the same rows give the same model. It must not know MLflow (registering.py) or
Prefect (flow.py), or read the process environment.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import psycopg
from psycopg.rows import class_row
from pydantic import SecretStr
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score, root_mean_squared_error
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_limits

from mlops_sdk.errors import InputError, UnreachableError
from pipelines.recommender.features import FEATURES, FILM_FEATURES, feature_rows
from pipelines.recommender.films import Film
from pipelines.recommender.generator import LIKED_FROM, Rating

SEED = 7
DIMENSIONS = 64
EMBEDDER = "movie-embedder"
RERANKER = "movie-reranker"

# One user in five is held out: an evaluation on users whom training has not seen.
_HELD_OUT_ONE_IN = 5


@dataclass(frozen=True)
class Recipe:
    """How one model version is made. `version` is the one that it becomes in an empty registry."""

    model: str
    version: int
    what: str
    settings: dict[str, Any]


# In the order in which they are registered.
RECIPES = (
    Recipe(EMBEDDER, 1, "TF-IDF of single words, SVD", {"ngrams": 1, "sublinear_tf": False}),
    Recipe(EMBEDDER, 2, "TF-IDF of words and word pairs, SVD", {"ngrams": 2, "sublinear_tf": True}),
    Recipe(RERANKER, 1, "gradient boosting on the film alone", {"user_features": False, "max_iter": 60}),
    Recipe(RERANKER, 2, "gradient boosting on film and user", {"user_features": True, "max_iter": 80}),
)


@dataclass(frozen=True)
class Dataset:
    """Everything that training reads, ordered; `checksum` covers every value."""

    films: tuple[Film, ...]
    interactions: tuple[Rating, ...]
    labels: tuple[Rating, ...]

    @property
    def checksum(self) -> str:
        """sha256 in hex."""
        return hashlib.sha256(repr((self.films, self.interactions, self.labels)).encode()).hexdigest()


@dataclass(frozen=True)
class Trained:
    """A fitted model, its metrics on what it has not seen, and an example of its input (a few rows)."""

    recipe: Recipe
    model: Pipeline
    metrics: dict[str, float]
    example: pd.DataFrame
    answer: Literal["transform", "predict"]  # the method that answers


def read_dataset(source_url: SecretStr) -> Dataset:
    """The films and ratings of the source database.

    Raises UnreachableError if the database does not answer or holds no such tables, InputError for a column that is
    gone and for tables without a row.
    """
    film_columns = ", ".join(Film.__dataclass_fields__)
    try:
        with psycopg.connect(source_url.get_secret_value(), connect_timeout=5) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with connection.cursor(row_factory=class_row(Film)) as cursor:
                films = cursor.execute(f"SELECT {film_columns} FROM films ORDER BY film_id").fetchall()  # noqa: S608 - names of fields, not input
            with connection.cursor(row_factory=class_row(Rating)) as cursor:
                columns = "SELECT user_id, film_id, rating"
                order = "ORDER BY user_id, film_id"
                interactions = cursor.execute(f"{columns} FROM interactions {order}").fetchall()
                labels = cursor.execute(f"{columns} FROM labels {order}").fetchall()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable) as error:
        raise UnreachableError(
            "the source database gave no training data",
            where="MLOPS_SOURCE_URL",
            remedy="load it: python -m pipelines.recommender.source",
        ) from error
    except psycopg.errors.UndefinedColumn as error:
        raise InputError(
            f"the source has not what training reads of it: {error.diag.message_primary}",
            where="pipelines/recommender/steps.py",
            remedy="load it: python -m pipelines.recommender.source, or change the query",
        ) from error
    if not (films and interactions and labels):
        raise InputError(
            f"{len(films)} films, {len(interactions)} interactions and {len(labels)} labels are nothing to learn from",
            where="the source database",
            remedy="load it: python -m pipelines.recommender.source",
        )
    return Dataset(tuple(films), tuple(interactions), tuple(labels))


def train(recipe: Recipe, dataset: Dataset) -> Trained:
    """The model of `recipe`, fitted on `dataset`.

    In one thread: so that the sums have one order on every machine, and because the threads of a fit this
    small wait for each other longer than they work when the machine is busy.
    """
    with threadpool_limits(1):
        return (
            train_embedder(recipe, dataset) if recipe.model == EMBEDDER else train_reranker(recipe, dataset)
        )


def train_embedder(recipe: Recipe, dataset: Dataset) -> Trained:
    """Text (a DataFrame with column `text`) to `DIMENSIONS` numbers a row, of length 1."""
    texts = pd.DataFrame({"text": [film.text for film in dataset.films]})
    words = TfidfVectorizer(
        ngram_range=(1, recipe.settings["ngrams"]), sublinear_tf=recipe.settings["sublinear_tf"], min_df=2
    )
    model = make_pipeline(
        ColumnTransformer([("words", words, "text")]),
        TruncatedSVD(DIMENSIONS, n_iter=4, random_state=SEED),
        Normalizer(),
    )
    vectors = model.fit_transform(texts)
    metrics = {
        "explained_variance": float(model.named_steps["truncatedsvd"].explained_variance_ratio_.sum()),
        "same_genre_at_10": same_genre_at(10, vectors, [film.genre for film in dataset.films]),
    }
    return Trained(recipe, model, metrics, texts.head(3), "transform")


def same_genre_at(k: int, vectors: np.ndarray, genres: Sequence[str | None]) -> float:
    """The share of a film's k nearest others (cosine) that have its genre, where that is known."""
    codes = pd.factorize(pd.Series(genres))[0]  # unknown is -1
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argpartition(-similarity, k, axis=1)[:, :k]
    known = codes >= 0
    return float((codes[nearest][known] == codes[known][:, None]).mean())


def train_reranker(recipe: Recipe, dataset: Dataset) -> Trained:
    """Features (a DataFrame with columns `FEATURES`) to the rating that a user would give, 1 to 5."""
    rows, ratings, user_ids = reranker_rows(dataset)
    columns = FEATURES if recipe.settings["user_features"] else FILM_FEATURES
    model = make_pipeline(
        ColumnTransformer([("used", "passthrough", list(columns))]),
        HistGradientBoostingRegressor(
            max_iter=recipe.settings["max_iter"], max_leaf_nodes=15, learning_rate=0.1, random_state=SEED
        ),
    )
    held_out = is_held_out(user_ids)
    model.fit(rows[~held_out], ratings[~held_out])
    guesses = model.predict(rows[held_out])
    metrics = {
        "rmse": float(root_mean_squared_error(ratings[held_out], guesses)),
        "liked_auc": float(roc_auc_score(ratings[held_out] >= LIKED_FROM, guesses)),
    }
    return Trained(recipe, model, metrics, rows.dropna().head(3).reset_index(drop=True), "predict")


def is_held_out(user_id: Any) -> Any:
    """Whether a user, or which of an array of them, is one whose labels no training sees."""
    return user_id % _HELD_OUT_ONE_IN == 0


def reranker_rows(dataset: Dataset) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, ratings and user ids, one row a label. What a user liked comes from the interactions."""
    films = {film.film_id: film for film in dataset.films}
    liked: dict[int, list[Film]] = defaultdict(list)
    for interaction in dataset.interactions:
        if interaction.rating >= LIKED_FROM:
            liked[interaction.user_id].append(films[interaction.film_id])
    rows = [feature_rows(liked[label.user_id], [films[label.film_id]])[0] for label in dataset.labels]
    return (
        pd.DataFrame(rows, columns=list(FEATURES)),
        np.array([label.rating for label in dataset.labels], dtype=float),
        np.array([label.user_id for label in dataset.labels]),
    )
