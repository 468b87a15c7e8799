"""Lifetime value: what a customer will spend in the months after the observation, from the table `customers`.

Pure but for `read_examples`. Customers are held out by number, so that every training judges with the same ones; a
margin has a bootstrap interval of 95 % (Efron 1979, percentile method). It must not know MLflow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psycopg

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import digest_of

FEATURES = ("recency_days", "age_days", "frequency", "monetary")
HELD_OUT_PERCENT = 30
RESAMPLES = 2_000
SEED = 7

Floats = npt.NDArray[np.float64]

# A customer's spending after the day until which the release's table `customers` looks.
_QUERY = """
SELECT c.customer_id, c.recency_days, c.age_days, c.frequency, c.monetary,
       coalesce(sum(p.amount) FILTER (WHERE p.bought_on > %(until)s), 0) AS spent
  FROM customers AS c JOIN purchases AS p USING (customer_id)
 GROUP BY c.customer_id, c.recency_days, c.age_days, c.frequency, c.monetary
 ORDER BY c.customer_id
"""


@dataclass(frozen=True, eq=False)
class Examples:
    """Customers' features by column, and what each spent afterwards, in dollars."""

    features: pd.DataFrame
    spent: Floats

    @property
    def digest(self) -> str:
        """Equal digests are equal examples."""
        # As text: the canonical form of a digest takes no fractions.
        features = self.features.to_numpy().tolist()
        return digest_of({"features": repr(features), "spent": repr(self.spent.tolist())})


@dataclass(frozen=True)
class Evaluation:
    """Root mean square errors in dollars on customers held out, beside the mean; `low` to `high` holds 95 %."""

    customers: int
    rmse: float
    mean_rmse: float
    margin: float
    low: float
    high: float

    def metrics(self) -> dict[str, float]:
        """As MLflow keeps them."""
        return {name: getattr(self, name) for name in ("rmse", "mean_rmse", "margin", "low", "high")}

    @property
    def accepted(self) -> bool:
        """Whether it is surely better than the mean."""
        return self.low > 0

    def __str__(self) -> str:
        return (
            f"{self.customers:,} customers held out: RMSE {self.rmse:.2f}, the mean's {self.mean_rmse:.2f},"
            f" better by {self.margin:.2f} (95 % {self.low:.2f} to {self.high:.2f})"
        )


def read_examples(conn: psycopg.Connection[Any], until: str) -> tuple[Examples, Examples]:
    """Examples to train with and those held out, as a release's own role; `until` is its `observed_until`.

    Raises InputError where nobody spent anything afterwards: there is nothing to learn from.
    """
    cursor = conn.execute(_QUERY.encode(), {"until": until})
    rows = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])
    rows = rows.astype({"monetary": float, "spent": float})
    if not rows["spent"].any():
        raise InputError(
            f"no customer bought anything after {until}",
            where="parameter observed_until",
            remedy="observe until a day that leaves months to predict",
        )
    held_out = (
        rows["customer_id"] * 2_654_435_761 % 2**32 % 100 < HELD_OUT_PERCENT
    )  # Knuth's multiplicative hash
    return _examples(rows[~held_out]), _examples(rows[held_out])


def train(examples: Examples) -> Any:
    """Fit Poisson regression on logarithms: spending is never negative, and most customers spend nothing."""
    from sklearn.linear_model import PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    logarithms = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    model = make_pipeline(logarithms, StandardScaler(), PoissonRegressor(alpha=0.1, max_iter=1000))
    return model.fit(examples.features, examples.spent)


def evaluate(model: Any, train: Examples, held_out: Examples) -> Evaluation:
    """Judge on customers that training has not seen, beside the mean of what it was trained with."""
    own = (np.asarray(model.predict(held_out.features)) - held_out.spent) ** 2
    mean = (train.spent.mean() - held_out.spent) ** 2
    drawn = np.random.default_rng(SEED).integers(0, len(own), (RESAMPLES, len(own)))
    margins = np.sqrt(mean[drawn].mean(axis=1)) - np.sqrt(own[drawn].mean(axis=1))
    low, high = np.percentile(margins, [2.5, 97.5])
    rmse, mean_rmse = float(np.sqrt(own.mean())), float(np.sqrt(mean.mean()))
    return Evaluation(len(own), rmse, mean_rmse, mean_rmse - rmse, float(low), float(high))


def _examples(rows: pd.DataFrame) -> Examples:
    # As whole floats: a model's signature of integers would refuse a missing value.
    return Examples(rows[list(FEATURES)].astype(float), rows["spent"].to_numpy(dtype=np.float64))
