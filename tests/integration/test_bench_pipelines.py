"""The benches of pipelines: each runs whole, small; what their figures are of is right without a server too."""

import numpy as np
import psycopg
import pytest

from mlops_sdk.errors import NotFoundError
from tests.support.postgres import PostgresDatabase
from tools.bench.pipelines import retrieval
from tools.bench.pipelines.__main__ import run
from tools.bench.pipelines.items import exact_nearest, make_items


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flows", "retrieval"])
def test_a_bench_finds_figures_and_says_on_what(name: str) -> None:
    results = run([name], quick=True)
    assert results.failed == []
    assert results.figures
    assert len(results.notes) >= 2


def test_a_server_that_cannot_have_pgvector_is_an_error_and_no_bench_that_found_nothing(
    postgres_database: PostgresDatabase,
) -> None:
    with psycopg.connect(postgres_database.conninfo(), autocommit=True) as conn:
        retrieval.require_pgvector(conn)
        conn.execute("CREATE VIEW public.pg_available_extensions AS SELECT 'plpgsql'::name AS name")
        conn.execute("SET search_path = public, pg_catalog")
        with pytest.raises(NotFoundError, match="this Postgres has no pgvector"):
            retrieval.require_pgvector(conn)


def test_generated_items_are_the_same_each_time_and_lie_around_the_films_whose_facts_they_have() -> None:
    first, again = make_items(500), make_items(500)
    assert np.array_equal(first.vectors, again.vectors)
    films = len(first.films)
    assert len(first.vectors) == films + 500
    near = (first.vectors[films:] * first.vectors[first.like[films:]]).sum(axis=1)
    assert 0.7 < float(np.median(near)) < 0.9
    row = next(first.contents())[films - 1]
    assert (row["film_id"], row["title"]) == (films - 1, first.films[-1].title)
    assert all(set(row["liked"]) <= set(row["met"]) for row in first.histories())


def test_the_exact_search_leaves_out_what_a_user_has_met() -> None:
    vectors = np.eye(4, dtype=np.float32)
    query = np.array([0.9, 0.3, 0.2, 0.1], dtype=np.float32)
    assert exact_nearest(vectors, query, [0], 2) == [1, 2]


def test_ratios_of_retrieval_are_by_rounds_and_held_to_the_bar() -> None:
    times = retrieval.Times(
        bare=[[0.010], [0.020]],
        alone=[[0.011], [0.021]],
        step=[[0.020], [0.020]],
        whole=[[0.1], [0.3]],
    )
    found = {figure.name: figure for figure in retrieval.figures(times, (0.96, 0.94), 3_201)}
    inside = found["retrieval, p99: inside /recommend by bare SQL"]
    assert (list(inside.values), inside.met) == ([2.0, 1.0], True)
    assert found["retrieval: recall@10 of bare SQL"].met
    assert found["retrieval: recall@10 of /recommend's search"].met is False
