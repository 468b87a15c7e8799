"""The reranker's features: what a user liked and what a film is, as one row of numbers a film.

Shared by training and serving, so that both mean the same. A feature that is not known is NaN. Pure; it must
not know models or databases.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log1p, nan
from typing import Protocol

FILM_FEATURES = ("imdb_rating", "log_votes", "log_gross", "log_budget", "running_time_min", "year")
USER_FEATURES = ("genre_share", "director_liked", "year_distance")
FEATURES = FILM_FEATURES + USER_FEATURES


class FilmFacts(Protocol):
    """The facts of a film that features are made of; None is unknown."""

    @property
    def genre(self) -> str | None: ...
    @property
    def director(self) -> str | None: ...
    @property
    def year(self) -> int: ...
    @property
    def running_time_min(self) -> int | None: ...
    @property
    def budget_usd(self) -> int | None: ...
    @property
    def gross_usd(self) -> int | None: ...
    @property
    def imdb_rating(self) -> float | None: ...
    @property
    def imdb_votes(self) -> int | None: ...


def feature_rows(liked: Sequence[FilmFacts], films: Iterable[FilmFacts]) -> list[list[float]]:
    """One row of `FEATURES` for each of `films`, as seen by a user who liked `liked`."""
    genres = Counter(film.genre for film in liked)
    directors = {film.director for film in liked if film.director}
    mean_year = sum(film.year for film in liked) / len(liked) if liked else nan
    return [
        [
            nan if film.imdb_rating is None else film.imdb_rating,
            _log(film.imdb_votes),
            _log(film.gross_usd),
            _log(film.budget_usd),
            nan if film.running_time_min is None else float(film.running_time_min),
            float(film.year),
            genres[film.genre] / len(liked) if liked and film.genre else nan,
            float(film.director in directors),
            abs(film.year - mean_year),
        ]
        for film in films
    ]


def _log(value: int | None) -> float:
    return nan if value is None else log1p(value)
