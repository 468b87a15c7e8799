"""Who liked what, which films are near, in which order: the recommendation, from the release's own tables.

Deterministic: equal rows give equal answers. It reads; writing is feedback.py's.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import orjson
from psycopg import AsyncConnection
from psycopg.rows import class_row

from mlops_sdk.registry.load import Model
from pipelines.recommender.features import FEATURES, feature_rows

RERANKER_KEY = "reranker"
_MOST_IN_VIEW = 1000  # pgvector takes no more


@dataclass(frozen=True)
class Candidate:
    """A row of `content` without its vector."""

    film_id: int
    title: str
    genre: str | None
    director: str | None
    year: int
    running_time_min: int | None
    budget_usd: int | None
    gross_usd: int | None
    imdb_rating: float | None
    imdb_votes: int | None


@dataclass(frozen=True)
class Taste:
    """What a user likes, in the order of film ids, and every film that they have met."""

    liked: tuple[int, ...]
    met: tuple[int, ...]


@dataclass(frozen=True)
class Recommended:
    """A film and the rating that the reranker expects (1 to 5, rounded to 4 digits)."""

    film: Candidate
    score: float

    def document(self) -> dict[str, Any]:
        """As clients see it."""
        film = self.film
        return {
            "film_id": film.film_id,
            "title": film.title,
            "year": film.year,
            "genre": film.genre,
            "score": self.score,
        }


_HISTORY = "SELECT liked, met FROM histories WHERE user_id = %s"
_FEEDBACK = "SELECT liked, met FROM users WHERE user_id = %s"
_VECTORS = "SELECT embedding::text FROM content WHERE film_id = ANY(%s) ORDER BY film_id"

_SELECT = """
    SELECT film_id, title, genre, director, year, running_time_min, budget_usd, gross_usd, imdb_rating,
           imdb_votes
    FROM content
"""
_FILMS = _SELECT + "WHERE film_id = ANY(%s) ORDER BY film_id"
# The setting is of this statement alone, and in it: the subquery has no column, so it is answered once, before the
# search begins. Another statement for it would be another way there and back.
_NEAREST = (
    _SELECT
    + "WHERE (SELECT set_config('hnsw.ef_search', %s, true) <> '') AND film_id <> ALL(%s)"
    + " ORDER BY embedding <=> %s::vector LIMIT %s"
)
_BEST_KNOWN = _SELECT + "WHERE film_id <> ALL(%s) ORDER BY imdb_votes DESC NULLS LAST, film_id LIMIT %s"


async def read_taste(connection: AsyncConnection, user_id: int) -> Taste:
    """The user's history, corrected by their feedback. Empty for a user who is not known."""
    history = await (await connection.execute(_HISTORY, [user_id])).fetchone()
    feedback = await (await connection.execute(_FEEDBACK, [user_id])).fetchone()
    return combine(history or ([], []), feedback or ([], []))


def combine(
    history: tuple[Sequence[int], Sequence[int]], feedback: tuple[Sequence[int], Sequence[int]]
) -> Taste:
    """The taste of (liked, met) by history and by feedback: what was said last about a film counts."""
    history_liked, history_met = map(set, history)
    feedback_liked, feedback_met = map(set, feedback)
    return Taste(
        liked=tuple(sorted((history_liked - feedback_met) | feedback_liked)),
        met=tuple(sorted(history_met | feedback_met)),
    )


async def recommend(
    connection: AsyncConnection, reranker: Model, taste: Taste, *, k: int, candidates: int
) -> list[Recommended]:
    """The best `k` of the `candidates` films nearest to what the user likes, without those they have met.

    For a user of whom nothing is liked, the candidates are the best known films.
    """
    liked = await _films(connection, _FILMS, [list(taste.liked)])
    if liked:
        rows = await (await connection.execute(_VECTORS, [list(taste.liked)])).fetchall()
        vector = mean_vector([orjson.loads(text) for (text,) in rows])
        found = await nearest(connection, vector, met=taste.met, limit=candidates)
    else:
        found = await _films(connection, _BEST_KNOWN, [list(taste.met), candidates])
    # Nothing here waits, but a prediction takes milliseconds in which others would.
    return await asyncio.to_thread(rerank, reranker, liked, found, k)


async def nearest(
    connection: AsyncConnection, vector: str, *, met: Sequence[int], limit: int
) -> list[Candidate]:
    """The retrieval step: the `limit` films nearest to `vector` (as Postgres reads one) that are not in `met`."""
    return await _films(connection, _NEAREST, [str(in_view(limit)), list(met), vector, limit])


def in_view(limit: int) -> int:
    """How many films a search for the nearest `limit` keeps in view (`hnsw.ef_search`): three times as many.

    A user's mean lies between clusters of films, where a search that keeps just as many in view misses the very
    nearest: of the 10 nearest of a million items it found 0.86, with three times as many 0.96.
    """
    return min(3 * limit, _MOST_IN_VIEW)


def mean_vector(vectors: Sequence[Sequence[float]]) -> str:
    """The mean of at least one vector, as Postgres reads one. Summed in the given order."""
    means = [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]
    return orjson.dumps(means).decode()


def rerank(
    reranker: Model, liked: Sequence[Candidate], found: Sequence[Candidate], k: int
) -> list[Recommended]:
    """The best `k` of `found` by expected rating; the smaller film id first among equals."""
    import pandas as pd

    if not found:
        return []
    scores = reranker.predict(pd.DataFrame(feature_rows(liked, found), columns=list(FEATURES)))
    rated = [Recommended(film, round(float(score), 4)) for film, score in zip(found, scores, strict=True)]
    return sorted(rated, key=lambda each: (-each.score, each.film.film_id))[:k]


async def _films(connection: AsyncConnection, statement: LiteralString, values: list[Any]) -> list[Candidate]:
    async with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return await (await cursor.execute(statement, values)).fetchall()
