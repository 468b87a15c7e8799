"""Trains the adapters, tiny models each, and registers all of them in one step.

Each fit is a pure function of its subject and season. A version carries the tag `training`, so that a step which was
cut off trains only what the registry lacks.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from mlops_sdk.registry.trained import asking, log_model, make_version, registered
from mlops_sdk.release.digest import digest_of
from pipelines.conversation.skills import MODEL_PREFIX, SKILLS, Season, Skill

EXPERIMENT = "concierge-training"


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
    with asking(tracking_uri) as client:
        mlflow.set_experiment(EXPERIMENT)
        known = registered(client, f"{MODEL_PREFIX}%")
        return {skill.key: _ensure(client, known, skill, season) for skill in skills}


def _ensure(client: MlflowClient, known: Mapping[tuple[str, str], int], skill: Skill, season: Season) -> int:
    made_of = digest_of([*map(list, skill.examples(season)), version("scikit-learn")])
    found = known.get((skill.model, made_of))
    return _register(client, skill, season, made_of) if found is None else found


def _register(client: MlflowClient, skill: Skill, season: Season, made_of: str) -> int:
    model, accuracy = train(skill, season)
    example = pd.DataFrame({"text": [text for text, _ in list(skill.examples(season))[:3]]})
    with mlflow.start_run(run_name=f"{skill.key}, {season} season"):
        mlflow.log_param("season", season)
        mlflow.log_metric("accuracy", accuracy)
        uri = log_model(model, skill.model, example, model.predict(example))
    return make_version(client, uri, skill.model, made_of)
