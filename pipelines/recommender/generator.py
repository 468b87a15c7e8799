"""Users, what they rated, and the reranker's labels: made up, from one seed, the same on every machine.

The films are real, the people are not. Each user has two favourite genres, a favourite era and a degree of
care for quality; how much they like a film is

    utility = 1.6 [genre is a favourite] + quality (imdb_rating - 6.3) - |year - era| / 20 + noise
    noise ~ U(-0.8, 0.8)

and the rating is 3 + utility, rounded and held within 1 to 5. A rating of at least 4 is a like. Which films a
user meets is drawn with weights: votes^0.5, times three in a favourite genre. Interactions are the history
that serving starts from; labels are further ratings, of other films, that only training sees.

Pure; `random.Random.random` alone is drawn from, because Python promises its sequence for a seed.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from pipelines.recommender.films import Film

SEED = 20_100
USERS = 300
INTERACTIONS_A_USER = 20
LABELS_A_USER = 40
LIKED_FROM = 4

_MISSING_RATING = 6.0
_ERAS = (1975, 1985, 1995, 2000, 2005, 2008)


@dataclass(frozen=True)
class Rating:
    """What a user thought of a film: `rating` from 1 (bad) to 5 (good)."""

    user_id: int
    film_id: int
    rating: int


@dataclass(frozen=True)
class Population:
    """Everything generated: user ids from 1, ratings in the order of (user, draw)."""

    user_ids: tuple[int, ...]
    interactions: tuple[Rating, ...]
    labels: tuple[Rating, ...]


@dataclass(frozen=True)
class _Taste:
    genres: frozenset[str]
    era: int
    quality: float


def generate(films: Sequence[Film], *, users: int = USERS, seed: int = SEED) -> Population:
    """The population over `films`; the same arguments give the same population."""
    chance = Random(seed)  # noqa: S311 - a simulation, not a secret
    genres = sorted({film.genre for film in films if film.genre})
    interactions: list[Rating] = []
    labels: list[Rating] = []
    for user_id in range(1, users + 1):
        taste = _taste(chance, genres)
        met = _meet(chance, films, taste, INTERACTIONS_A_USER + LABELS_A_USER)
        ratings = [Rating(user_id, film.film_id, _rate(chance, taste, film)) for film in met]
        interactions += ratings[:INTERACTIONS_A_USER]
        labels += ratings[INTERACTIONS_A_USER:]
    return Population(tuple(range(1, users + 1)), tuple(interactions), tuple(labels))


def _taste(chance: Random, genres: Sequence[str]) -> _Taste:
    first = int(chance.random() * len(genres))
    second = int(chance.random() * len(genres))
    return _Taste(
        genres=frozenset({genres[first], genres[second]}),
        era=_ERAS[int(chance.random() * len(_ERAS))],
        quality=0.3 + 0.7 * chance.random(),
    )


def _meet(chance: Random, films: Sequence[Film], taste: _Taste, count: int) -> list[Film]:
    """`count` different films, the better known and the better fitting ones more often."""
    edges = list(
        accumulate(
            (film.imdb_votes or 1) ** 0.5 * (3.0 if film.genre in taste.genres else 1.0) for film in films
        )
    )
    met: dict[int, Film] = {}
    while len(met) < min(count, len(films)):
        film = films[min(bisect(edges, chance.random() * edges[-1]), len(films) - 1)]
        met.setdefault(film.film_id, film)
    return list(met.values())


def _rate(chance: Random, taste: _Taste, film: Film) -> int:
    rating = film.imdb_rating if film.imdb_rating is not None else _MISSING_RATING
    utility = (
        1.6 * (film.genre in taste.genres)
        + taste.quality * (rating - 6.3)
        - abs(film.year - taste.era) / 20
        + 1.6 * (chance.random() - 0.5)
    )
    return max(1, min(5, round(3 + utility)))
