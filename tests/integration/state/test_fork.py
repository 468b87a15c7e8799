"""Forks: what is refused, what is shared between them, how they follow."""

import pytest
import sqlalchemy as sa

from mlops_sdk.errors import PolicyError
from mlops_sdk.state import (
    Forked,
    State,
    fork,
    progress,
)
from tests.support.releases import Releases
from tests.support.tables import metadata, users


def test_columns_that_cannot_be_carried_are_refused_before_the_cut(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", State(Forked(users(metadata()))))
    film_releases.deploy("v0.0.1")
    lock = film_releases.lock(
        "v0.0.2", State(Forked(users(metadata(), sa.Column("n", sa.Integer, nullable=False))))
    )
    film_releases.bind("v0.0.2")
    with pytest.raises(PolicyError, match="give it a default"):
        fork.fork(film_releases.conninfo, "local", lock.digest, "users", lease=None)


def test_identities_of_a_forked_table_never_repeat(film_releases: Releases) -> None:
    def notes() -> State:
        columns = (
            sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
            sa.Column("text", sa.Text),
        )
        return State(Forked(sa.Table("notes", metadata(), *columns)))

    insert = "INSERT INTO notes (text) VALUES ('x') RETURNING id"
    ids = []
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        film_releases.lock(tag, notes(), service=service)
        film_releases.deploy(tag)
        with film_releases.connect(tag) as conn:
            ids += [conn.execute(insert.encode()).fetchone()]
    film_releases.make_live("v0.0.1")
    with film_releases.connect("v0.0.1") as conn:
        ids += [conn.execute(insert.encode()).fetchone()]
        assert conn.execute("SELECT id FROM notes ORDER BY id").fetchall() == ids
    assert len(set(ids)) == 3


def test_following_keeps_the_releases_close_and_the_log_empty(film_releases: Releases) -> None:
    from mlops_sdk.state.follow import follow_once

    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        film_releases.lock(tag, State(Forked(users(metadata()))), service=service)
        film_releases.deploy(tag)
    with film_releases.connect("v0.0.2") as b, film_releases.environment.ledger.connect() as conn:
        b.execute("INSERT INTO users (user_id) SELECT generate_series(1, 3000)")
        digests = [film_releases.locks[tag].digest for tag in ("v0.0.1", "v0.0.2")]
        assert follow_once(conn, "local") == {digests[0]: 0, digests[1]: 0}
        assert conn.execute("SELECT count(*) FROM store.log_users").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM store.pending_users").fetchone() == (0,)
    with film_releases.connect("v0.0.1") as a:
        assert a.execute("SELECT count(*) FROM users").fetchone() == (3000,)


def test_a_fork_that_fell_far_behind_is_copied_anew(film_releases: Releases) -> None:
    from mlops_sdk.state.carry import drain_once, mark_stale

    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        film_releases.lock(tag, State(Forked(users(metadata()))), service=service)
        film_releases.deploy(tag)
    with film_releases.connect("v0.0.2") as b, film_releases.environment.ledger.connect() as conn:
        b.execute("INSERT INTO users (user_id) SELECT generate_series(1, 3000)")
        drain_once(conn, "local", film_releases.locks["v0.0.2"].digest)  # the other one only waits
        assert [fork.table for fork in mark_stale(conn, "local", limit=500)] == ["users"]
        b.execute("DELETE FROM users WHERE user_id <= 100")
    film_releases.make_live("v0.0.1")
    with film_releases.connect("v0.0.1") as a:
        assert a.execute("SELECT count(*), min(user_id) FROM users").fetchone() == (2900, 101)
        a.execute("UPDATE users SET count = 1")


def test_a_copy_goes_in_steps_tells_how_far_it_is_and_misses_nothing_written_meanwhile(
    film_releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY_S", 0.0)
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        film_releases.lock(tag, State(Forked(users(metadata()))), service=service)
    film_releases.deploy("v0.0.1")
    film_releases.bind("v0.0.2")
    digest = film_releases.locks["v0.0.2"].digest
    told: list[str] = []
    with film_releases.connect("v0.0.1") as a:
        a.execute("INSERT INTO users (user_id) SELECT generate_series(1, 3000)")

        def write_meanwhile(line: str) -> None:
            """Rows that were copied, that were not yet, new ones; none is where it was."""
            told.append(line)
            n = len(told)
            a.execute("UPDATE users SET count = count + 1 WHERE user_id % 3 = 0")
            a.execute("DELETE FROM users WHERE user_id IN (%s, %s)", [n, 3001 - n])
            a.execute("INSERT INTO users (user_id) VALUES (%s)", [10_000 + n])

        fork.fork(film_releases.conninfo, "local", digest, "users", lease=None, report=write_meanwhile)
        film_releases.prepare("v0.0.2")
        film_releases.make_live("v0.0.2")
        assert len(told) >= 3
        assert told[-1].startswith("users: 3,000 of 3,000 rows, ")
        everything = "SELECT user_id, count FROM users ORDER BY 1"
        with film_releases.connect("v0.0.2") as b:
            assert b.execute(everything.encode()).fetchall() == a.execute(everything.encode()).fetchall()
