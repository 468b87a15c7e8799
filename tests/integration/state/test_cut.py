"""What a release sees and may write, and what a cut needs."""

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import PolicyError
from mlops_sdk.state import (
    Shared,
    State,
    build,
    cut,
    fork,
    shared,
)
from tests.support.films import BUILDERS, build_content, film_state
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata


def test_a_release_sees_its_tables_and_no_others(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    film_releases.deploy("v0.0.1", BUILDERS)
    with film_releases.connect("v0.0.1") as conn:
        assert conn.execute("SELECT count(*) FROM content").fetchone() == (200,)
        conn.execute("INSERT INTO users (user_id, count) VALUES (7, 1)")
        conn.execute("INSERT INTO interactions (user_id, film_id) VALUES (7, 3) RETURNING interaction_id")
        conn.execute("SELECT digest FROM mlops.pointer_view WHERE environment = 'local'")
        for refused in (
            "INSERT INTO content VALUES (1000, 'x', '[1,1,1,1]')",
            "DELETE FROM interactions",
            "UPDATE interactions SET film_id = 1",
            "TRUNCATE users",
            "SELECT * FROM mlops.entry",
            "DELETE FROM store.log_users",
            "SELECT * FROM shared.interactions",
            "CREATE TABLE t (a int)",
            "CREATE TEMP TABLE t (a int)",
            "ALTER TABLE users DISABLE TRIGGER ALL",
            "SET ROLE sdk_carry",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(refused.encode())
        nearest = "SELECT film_id FROM content ORDER BY embedding <=> '[5,1,0,0.5]' LIMIT 1"
        assert conn.execute(nearest.encode()).fetchone() == (5,)
        assert conn.execute("SHOW hnsw.iterative_scan").fetchone() == ("strict_order",)


def test_a_cut_without_its_tables_names_the_command_that_makes_them(film_releases: Releases) -> None:
    from pydantic import SecretStr

    lock = film_releases.lock("v0.0.1", film_state())
    binding = film_releases.bind("v0.0.1")
    with pytest.raises(PolicyError, match=r"content of release v0\.0\.1 is not built(.|\n)*mlops deploy"):
        cut.cut(film_releases.conninfo, lock, binding, SecretStr("x"))
    film_releases.build("v0.0.1", "content", build_content)
    with pytest.raises(PolicyError, match=r"users of release v0\.0\.1 is not forked(.|\n)*mlops deploy"):
        cut.cut(film_releases.conninfo, lock, binding, SecretStr("x"))
    fork.fork(film_releases.conninfo, "local", lock.digest, "users", lease=None)
    with pytest.raises(PolicyError, match=r"interactions(.|\n)*mlops deploy"):
        cut.cut(film_releases.conninfo, lock, binding, SecretStr("x"))
    assert not cut.read(film_releases.conninfo, binding)
    shared.ensure(film_releases.conninfo, "local", lock, "interactions", lease=None)
    for _ in range(2):
        cut.cut(film_releases.conninfo, lock, binding, SecretStr("x"))
        assert cut.read(film_releases.conninfo, binding)


def test_postgres_refuses_to_drop_what_a_release_needs(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    binding = film_releases.prepare("v0.0.1", BUILDERS)
    found = build.status(film_releases.conninfo, binding.fingerprints["content"])
    assert found is not None
    with film_releases.environment.ledger.connect() as conn:
        for name in (f"store.{found.physical}", f"{binding.pg_schema}.users", "shared.interactions"):
            with pytest.raises(psycopg.errors.DependentObjectsStillExist):
                conn.execute(f"DROP TABLE {name}".encode())


def test_shared_tables_only_grow(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", State(Shared(interactions(metadata()))))
    film_releases.deploy("v0.0.1")
    film_releases.lock("v0.0.2", State(Shared(interactions(metadata(), sa.Column("rating", sa.Integer)))))
    film_releases.deploy("v0.0.2")
    with film_releases.connect("v0.0.2") as b, film_releases.connect("v0.0.1") as a:
        b.execute("INSERT INTO interactions (user_id, film_id, rating) VALUES (1, 2, 5)")
        a.execute("INSERT INTO interactions (user_id, film_id) VALUES (1, 3)")
        assert b.execute("SELECT film_id, rating FROM interactions ORDER BY 1").fetchall() == [
            (2, 5),
            (3, None),
        ]
    lock = film_releases.lock(
        "v0.0.3", State(Shared(interactions(metadata(), sa.Column("rating", sa.Text, nullable=False))))
    )
    film_releases.bind("v0.0.3")
    with pytest.raises(PolicyError, match="can only be expanded"):
        shared.ensure(film_releases.conninfo, "local", lock, "interactions", lease=None)
