"""How a taste is put together, what the reranker sees, and in which order films come out."""

from math import isnan, log1p
from typing import Any

import pytest

from pipelines.recommender.features import FEATURES, feature_rows
from pipelines.recommender.feedback import Feedback
from pipelines.recommender.recommending import Candidate, Taste, combine, mean_vector, rerank


def film(film_id: int = 1, **facts: Any) -> Candidate:
    known: dict[str, Any] = {
        "title": f"Film {film_id}",
        "genre": "Drama",
        "director": None,
        "year": 2000,
        "running_time_min": None,
        "budget_usd": None,
        "gross_usd": 100,
        "imdb_rating": 7.0,
        "imdb_votes": 10,
    }
    return Candidate(film_id=film_id, **{**known, **facts})


class FixedReranker:
    """Answers the scores it was given."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def predict(self, data: Any) -> Any:
        assert list(data.columns) == list(FEATURES)
        return self.scores[: len(data)]


@pytest.mark.parametrize(
    ("history", "feedback", "taste"),
    [
        (([], []), ([], []), Taste((), ())),
        (([3], [3, 1]), ([], []), Taste((3,), (1, 3))),
        (([3], [3]), ([], [3]), Taste((), (3,))),  # liked once, not any more
        (([], [5]), ([5], [5]), Taste((5,), (5,))),
        (([1], [1]), ([2], [2]), Taste((1, 2), (1, 2))),
    ],
)
def test_what_was_said_last_about_a_film_counts(
    history: tuple[list[int], list[int]], feedback: tuple[list[int], list[int]], taste: Taste
) -> None:
    assert combine(history, feedback) == taste


def test_the_mean_of_vectors_is_what_postgres_reads() -> None:
    assert mean_vector([[1.0, 0.0], [0.0, 1.0]]) == "[0.5,0.5]"


def test_films_come_by_score_and_equal_ones_by_id() -> None:
    found = [film(9), film(2), film(5)]
    best = rerank(FixedReranker(0.5, 0.5, 0.9), [], found, k=3)
    assert [each.film.film_id for each in best] == [5, 2, 9]
    assert len(rerank(FixedReranker(0.5, 0.5, 0.9), [], found, k=2)) == 2


def test_without_candidates_nothing_is_predicted() -> None:
    assert rerank(FixedReranker(), [], [], k=5) == []


def test_features_say_what_is_known_and_nan_for_the_rest() -> None:
    liked = [film(1, director="Ken Loach"), film(2, genre="Comedy", year=1990)]
    (row,) = feature_rows(liked, [film(3, director="Ken Loach")])
    named = dict(zip(FEATURES, row, strict=True))
    assert named["genre_share"] == 0.5
    assert named["director_liked"] == 1.0
    assert named["year_distance"] == 5.0
    assert named["log_gross"] == log1p(100)
    assert isnan(named["log_budget"])


def test_a_user_who_likes_nothing_has_no_user_features() -> None:
    (row,) = feature_rows([], [film(3)])
    named = dict(zip(FEATURES, row, strict=True))
    assert isnan(named["genre_share"]) and isnan(named["year_distance"])
    assert named["director_liked"] == 0.0


@pytest.mark.parametrize(("rating", "liked"), [(None, True), (5, True), (4, True), (3, False), (1, False)])
def test_a_rating_from_4_or_none_at_all_is_a_like(rating: int | None, liked: bool) -> None:
    assert Feedback(user_id=1, film_id=1, rating=rating).liked is liked
