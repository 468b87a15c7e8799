"""Prepare: from raw rows to features and targets, split once and for all by the film itself. Pure.

A film is always in the same part, whatever else the extract holds, so that scores of two trainings can be compared and
no film of the test was ever learned from.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops_sdk.errors import InputError

NUMBERS = ("year", "running_time_min", "budget_usd", "gross_usd", "imdb_votes")
CATEGORIES = ("genre", "source", "distributor")
FEATURES = (*NUMBERS, *CATEGORIES)
TARGET = "imdb_rating"
# Shares of 256: about 60, 20 and 20 per cent.
_TRAIN_BELOW, _VALIDATION_BELOW = 154, 205
_FEWEST_ROWS = 50

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Features (a row a film, columns FEATURES) and ratings of 1 to 10."""

    features: pd.DataFrame
    ratings: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ratings)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The three parts: to learn from, to choose parameters by, and to judge what was chosen."""

    train: Examples
    validation: Examples
    test: Examples


def part_of(film_id: int) -> Part:
    """The part of a film, by the first byte of the sha256 of its number."""
    byte = hashlib.sha256(f"film {film_id}".encode()).digest()[0]
    if byte < _TRAIN_BELOW:
        return "train"
    return "validation" if byte < _VALIDATION_BELOW else "test"


def features_of(rows: pd.DataFrame) -> pd.DataFrame:
    """What the model sees of raw rows: numbers as float64 (NaN: unknown), categories as text ("": unknown)."""
    numbers = rows[list(NUMBERS)].astype("float64")
    categories = rows[list(CATEGORIES)].astype(object).fillna("").astype(str)
    return pd.concat([numbers, categories], axis=1)[list(FEATURES)]


def prepare(rows: pd.DataFrame) -> Prepared:
    """Split the rated films. Raises InputError where a part has too few rows to say anything."""
    rated = rows[rows[TARGET].notna()]
    parts = rated["film_id"].map(part_of)
    found = {part: _examples(rated[parts == part]) for part in ("train", "validation", "test")}
    for part, examples in found.items():
        if len(examples) < _FEWEST_ROWS:
            raise InputError(
                f"{len(examples)} rated films are in the part `{part}`, at least {_FEWEST_ROWS} are needed",
                where="films",
                remedy="load the whole source: `python -m pipelines.recommender.source`",
            )
    return Prepared(**found)


def _examples(rows: pd.DataFrame) -> Examples:
    return Examples(features_of(rows).reset_index(drop=True), rows[TARGET].to_numpy(dtype=np.float64))
