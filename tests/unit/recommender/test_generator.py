"""The generated population is the same on every machine and says what it claims."""

import hashlib

from pipelines.recommender.films import read_films
from pipelines.recommender.generator import INTERACTIONS_A_USER, LABELS_A_USER, generate

FILMS = read_films()


def test_one_seed_gives_one_population_on_every_machine() -> None:
    population = generate(FILMS, users=20)
    assert generate(FILMS, users=20) == population
    assert generate(FILMS, users=20, seed=1) != population
    found = hashlib.sha256(repr(population).encode()).hexdigest()
    assert found.startswith("7b84f552d12ea0c5"), found


def test_nobody_meets_a_film_twice() -> None:
    population = generate(FILMS, users=20)
    for user_id in population.user_ids:
        met = [r.film_id for r in (*population.interactions, *population.labels) if r.user_id == user_id]
        assert len(met) == len(set(met)) == INTERACTIONS_A_USER + LABELS_A_USER


def test_every_rating_is_from_1_to_5() -> None:
    population = generate(FILMS, users=20)
    assert {r.rating for r in population.interactions} == {1, 2, 3, 4, 5}


def test_more_users_leave_the_first_ones_as_they_were() -> None:
    few, many = generate(FILMS, users=3), generate(FILMS, users=6)
    assert many.interactions[: len(few.interactions)] == few.interactions
