"""Releases with a built, a forked and a shared table, and the films that the built one is made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.state import BuildContext, Derived, Forked, Shared, Source, State
from mlops_sdk.state.fill import Build
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import content, interactions, metadata, users


@pytest.fixture
def film_releases(environment: Environment, tmp_path: Path) -> Releases:
    """No release yet; the source database has 200 films."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("CREATE TABLE films (film_id int PRIMARY KEY, title text)")
        conn.execute("INSERT INTO films SELECT n, 'film ' || n FROM generate_series(1, 200) AS n")
    return Releases(environment, tmp_path)


def build_content(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    """The builder of `content`."""
    for row in context.source("films", "SELECT film_id, title FROM films ORDER BY film_id"):
        yield [{**row, "embedding": [row["film_id"], 1.0, 0.0, 0.5]}]


BUILDERS: Mapping[str, Build] = {"content": build_content}


def film_state(*users_extra: sa.Column[Any]) -> State:
    """One table of each kind; `users` has more columns if told."""
    meta = metadata()
    return State(
        Derived(
            content(meta),
            builder="app.build:content",
            sources=(Source("films", "SELECT count(*) FROM films"),),
        ),
        Forked(users(meta, *users_extra)),
        Shared(interactions(meta)),
    )


def count(conn: psycopg.Connection[Any], user: int) -> int:
    """A user's count, as the release sees it."""
    row = conn.execute("SELECT count FROM users WHERE user_id = %s", [user]).fetchone()
    assert row is not None
    return int(row[0])
