"""recall@k."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.recommender.evaluating import recall_at

FILMS = st.integers(1, 30)
LIKED = st.dictionaries(st.integers(1, 9), st.sets(FILMS, min_size=1), min_size=1)


def test_recall_is_the_share_of_what_is_liked_that_is_among_the_first_k() -> None:
    found = recall_at(2, {1: {10, 11}, 2: {12}, 3: set()}, {1: [10, 5, 11], 2: [12]})
    assert (found.mean, found.users) == (0.75, 2)
    assert found.error == pytest.approx(0.25)


def test_nobody_who_likes_anything_is_no_evaluation() -> None:
    with pytest.raises(ValueError, match="nobody likes anything"):
        recall_at(5, {1: set()}, {1: [1]})


@given(liked=LIKED, films=st.lists(FILMS, unique=True), k=st.integers(1, 30))
def test_it_is_a_share_and_rises_with_k_to_all_that_was_recommended(
    liked: dict[int, set[int]], films: list[int], k: int
) -> None:
    recommended = dict.fromkeys(liked, films)
    small, large = recall_at(k, liked, recommended), recall_at(k + 1, liked, recommended)
    assert 0 <= small.mean <= large.mean <= 1
    assert recall_at(30, liked, {user: list(films) for user, films in liked.items()}).mean == 1
