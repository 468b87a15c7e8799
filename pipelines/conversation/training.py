"""Trains the adapters, tiny models each, and registers all of them in one step.

Each fit is a pure function of its subject and season. A version carries the tag `training`, so that a step which was
cut off trains only what the registry lacks.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # MLflow asks git for the commit; the lock knows it

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from mlops_sdk.errors import UnreachableError
from mlops_sdk.release.digest import digest_of
from pipelines.conversation.skills import MODEL_PREFIX, SKILLS, Season, Skill

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "concierge-training"
TRAINING_TAG = "training"
_REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "pandas")


def train(skill: Skill, season: Season) -> tuple[Pipeline, float]:
    """The adapter of a subject, text to answer, and the share of its examples that it answers rightly."""
    examples = list(skill.examples(season))
    texts = pd.DataFrame({"text": [text for text, _ in examples]})
    answers = [answer for _, answer in examples]
    model = make_pipeline(
        ColumnTransformer([("words", TfidfVectorizer(), "text")]), LogisticRegression(C=100, max_iter=500)
    )
    model.fit(texts, answers)
    return model, float(model.score(texts, answers))


def ensure_adapters(tracking_uri: str, season: Season, skills: Sequence[Skill] = SKILLS) -> dict[str, int]:
    """The versions of the adapters for a season, by key; trained and registered where the registry lacks them.

    Raises UnreachableError if MLflow does not answer.
    """
    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient(tracking_uri)
    try:
        mlflow.set_experiment(EXPERIMENT)
        known = _registered(client)
        return {skill.key: _ensure(known, skill, season) for skill in skills}
    except mlflow.exceptions.MlflowException as error:
        if "Max retries exceeded" not in str(error):
            raise
        raise UnreachableError(
            "MLflow did not answer", where=tracking_uri, remedy="start it: `mlops up ENV`"
        ) from error


def _registered(client: "MlflowClient") -> dict[tuple[str, str], int]:
    """The first version of each adapter by its name and what it was made of; asked for all at once."""
    found: dict[tuple[str, str], int] = {}
    page = client.search_model_versions(f"name LIKE '{MODEL_PREFIX}%'")
    while page:
        for one in page:
            key, number = (one.name, one.tags.get(TRAINING_TAG, "")), int(one.version)
            found[key] = min(number, found.get(key, number))
        if not page.token:
            break
        page = client.search_model_versions(f"name LIKE '{MODEL_PREFIX}%'", page_token=page.token)
    return found


def _ensure(known: Mapping[tuple[str, str], int], skill: Skill, season: Season) -> int:
    made_of = digest_of([*map(list, skill.examples(season)), version("scikit-learn")])
    found = known.get((skill.model, made_of))
    return _register(skill, season, made_of) if found is None else found


def _register(skill: Skill, season: Season, made_of: str) -> int:
    model, accuracy = train(skill, season)
    example = pd.DataFrame({"text": [text for text, _ in list(skill.examples(season))[:3]]})
    with mlflow.start_run(run_name=f"{skill.key}, {season} season"):
        mlflow.log_param("season", season)
        mlflow.log_metric("accuracy", accuracy)
        logged = mlflow.sklearn.log_model(
            model,
            name=skill.model,
            # The registry is the project's own, and a plain pickle loads without a further library.
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
        )
    created = mlflow.register_model(
        logged.model_uri, skill.model, await_registration_for=0, tags={TRAINING_TAG: made_of}
    )
    return int(created.version)
