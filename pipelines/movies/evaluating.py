"""Evaluate, and validate the model: how far off it is, and whether that beats knowing nothing, and the champion.

Pure. Differences are of the same films under both, with a bootstrap interval of 95 % (Efron 1979, percentile method),
so that luck with the test films is not taken for skill.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipelines.movies.preparing import Examples

Floats = npt.NDArray[np.float64]
RESAMPLES = 2_000
SEED = 11
# A challenger may be worse by so much of the champion's RMSE, for a model of newer data.
TOLERANCE = 0.01


class Model(Protocol):
    """What answers with a rating for each row of features."""

    def predict(self, features: pd.DataFrame) -> Any:
        """Ratings, one a row."""
        ...


@dataclass(frozen=True)
class Margin:
    """By how much one RMSE is below another on the same films: positive is better; `low` to `high` holds 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} (95 % {self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Evaluation:
    """On films that training has not seen: RMSE in points of rating, that of the mean rating, and the margin."""

    films: int
    rmse: float
    mean_rmse: float
    over_mean: Margin

    def metrics(self) -> dict[str, float]:
        """As MLflow keeps them."""
        return {
            "rmse": self.rmse,
            "mean_rmse": self.mean_rmse,
            "over_mean": self.over_mean.value,
            "over_mean_low": self.over_mean.low,
            "over_mean_high": self.over_mean.high,
        }


@dataclass(frozen=True)
class Verdict:
    """Whether a model may become the champion, and why in a sentence."""

    accepted: bool
    why: str


def evaluate(model: Model, train: Examples, test: Examples) -> Evaluation:
    """Judge a model beside the mean rating of what it was trained on."""
    errors = _errors(model, test)
    of_mean = test.ratings - train.ratings.mean()
    return Evaluation(len(test), rmse(errors), rmse(of_mean), margin(of_mean, errors))


def judge(evaluation: Evaluation, model: Model, champion: Model | None, test: Examples) -> Verdict:
    """Compare with knowing nothing, and with the champion if there is one."""
    if evaluation.over_mean.low <= 0:
        return Verdict(False, f"it is not surely better than the mean rating: {evaluation.over_mean}")
    if champion is None:
        return Verdict(True, f"it is better than the mean rating by {evaluation.over_mean}, and the first")
    before, now = _errors(champion, test), _errors(model, test)
    over = margin(before, now)
    allowed = TOLERANCE * rmse(before)
    if over.value < -allowed:
        return Verdict(False, f"it is worse than the champion: {over}, allowed is {-allowed:+.3f}")
    return Verdict(True, f"beside the champion: {over}, allowed is {-allowed:+.3f}")


def margin(before: Floats, now: Floats) -> Margin:
    """By how much the RMSE of the errors `now` is below that of `before`, film by film the same."""
    random = np.random.default_rng(SEED)
    drawn = random.integers(0, len(now), size=(RESAMPLES, len(now)))
    differences = np.sqrt((before[drawn] ** 2).mean(axis=1)) - np.sqrt((now[drawn] ** 2).mean(axis=1))
    low, high = np.percentile(differences, [2.5, 97.5])
    return Margin(rmse(before) - rmse(now), float(low), float(high))


def rmse(errors: Floats) -> float:
    """Root of the mean square."""
    return float(np.sqrt((errors**2).mean()))


def _errors(model: Model, examples: Examples) -> Floats:
    return examples.ratings - np.asarray(model.predict(examples.features), dtype=np.float64)
