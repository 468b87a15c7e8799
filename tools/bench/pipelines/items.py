"""Items for the bench of retrieval: the real films, and as many more around them as wanted. It must not know a server.

A film's vector is the demo's own embedder's (TF-IDF of its text, SVD to 64 numbers, length 1). A generated item has
the facts of a real film, drawn by a fixed seed, and that film's vector moved by normal noise to a cosine of about
0.8 with it, then made of length 1: clusters as uneven as the real ones, in which no two items are equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.recommender.films import Film, read_films
from pipelines.recommender.generator import LIKED_FROM, Population, generate
from pipelines.recommender.steps import DIMENSIONS, RECIPES, Dataset, train_embedder

SEED = 11
NOISE = 0.75  # the length of the noise beside a vector of length 1
_FACTS = (
    "genre",
    "director",
    "year",
    "running_time_min",
    "budget_usd",
    "gross_usd",
    "imdb_rating",
    "imdb_votes",
)
_BATCH = 20_000

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Items:
    """`films` come first, with ids from 0; row n of `vectors` is item n's, `like` the film whose facts it has."""

    films: tuple[Film, ...]
    population: Population
    vectors: Vectors
    like: npt.NDArray[np.int64]

    @property
    def dataset(self) -> Dataset:
        """What the reranker is trained on."""
        return Dataset(self.films, self.population.interactions, self.population.labels)

    def contents(self) -> Iterator[list[dict[str, Any]]]:
        """The rows of table `content`, in batches."""
        for start in range(0, len(self.vectors), _BATCH):
            yield [self._row(n) for n in range(start, min(start + _BATCH, len(self.vectors)))]

    def histories(self) -> list[dict[str, Any]]:
        """The rows of table `histories`: what the generated users had met and liked."""
        met: dict[int, list[int]] = {user: [] for user in self.population.user_ids}
        liked: dict[int, list[int]] = {user: [] for user in self.population.user_ids}
        for one in self.population.interactions:
            met[one.user_id].append(one.film_id)
            if one.rating >= LIKED_FROM:
                liked[one.user_id].append(one.film_id)
        return [{"user_id": user, "liked": sorted(liked[user]), "met": sorted(met[user])} for user in met]

    def _row(self, number: int) -> dict[str, Any]:
        film = self.films[self.like[number]]
        title = film.title if number < len(self.films) else f"{film.title} {number}"
        facts = {name: getattr(film, name) for name in _FACTS}
        return {"film_id": number, "title": title, **facts, "embedding": self.vectors[number].tolist()}


def make_items(generated: int) -> Items:
    """The films and `generated` items more; the same number gives the same items."""
    films = read_films()
    embedder = train_embedder(RECIPES[0], Dataset(films, (), ()))
    import pandas as pd

    real = np.asarray(
        embedder.model.transform(pd.DataFrame({"text": [film.text for film in films]})), dtype=np.float32
    )
    draw = np.random.default_rng(SEED)
    like = np.concatenate([np.arange(len(films)), draw.integers(0, len(films), generated)])
    noise = draw.standard_normal((generated, DIMENSIONS), dtype=np.float32) * np.float32(
        NOISE / DIMENSIONS**0.5
    )
    vectors = np.concatenate([real, real[like[len(films) :]] + noise])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
    return Items(films, generate(films), vectors, like)


def exact_nearest(vectors: Vectors, query: Vectors, met: list[int], k: int) -> list[int]:
    """The ids of the `k` items nearest to `query` by cosine without those of `met`, by looking at every one."""
    found = vectors @ query
    found[met] = -np.inf
    best = np.argpartition(-found, k)[:k]
    return [int(n) for n in best[np.argsort(-found[best])]]


__all__ = ["Items", "exact_nearest", "make_items"]
