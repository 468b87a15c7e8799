"""Rows go along from release to release and back, and only one release becomes live."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import LeaseHeldError, MovedError
from mlops_sdk.ledger.database import LeaseLostError, control_transaction
from mlops_sdk.ledger.entries import Pointer
from mlops_sdk.ledger.lease import Holder, Lease, break_lease
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.state import (
    loss,
)
from mlops_sdk.state.cutover import Why, cutover
from mlops_sdk.traffic.shift import follow
from tests.support.films import BUILDERS, count, film_state
from tests.support.releases import MemoryTraffic, Releases


def test_rows_go_along_to_the_next_release_and_back(film_releases: Releases) -> None:
    for tag, extra in (("v0.0.1", []), ("v0.0.2", [sa.Column("mood", sa.Text)])):
        film_releases.lock(tag, film_state(*extra))
    film_releases.deploy("v0.0.1", BUILDERS)
    with film_releases.connect("v0.0.1") as a:
        a.execute(
            "INSERT INTO users (user_id, count, liked) SELECT n, 1, '{1,2}' FROM generate_series(1, 50) n"
        )
        film_releases.prepare("v0.0.2", BUILDERS)
        a.execute("DELETE FROM users WHERE user_id = 3")
        a.execute("UPDATE users SET user_id = 1000 WHERE user_id = 4")
        a.execute("UPDATE users SET count = 9 WHERE user_id = 5")
        with film_releases.connect("v0.0.2") as b:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                b.execute("UPDATE users SET count = 0")
            film_releases.make_live("v0.0.2")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                a.execute("UPDATE users SET count = 0")
            found = b.execute("SELECT user_id, count FROM users WHERE user_id IN (3, 4, 5, 1000) ORDER BY 1")
            assert found.fetchall() == [(5, 9), (1000, 1)]
            b.execute("UPDATE users SET count = count + 1, mood = 'good' WHERE user_id = 5")
            b.execute("INSERT INTO users (user_id, count) VALUES (2000, 4)")
            b.execute("DELETE FROM users WHERE user_id = 6")
        preview = loss.preview(
            film_releases.conninfo,
            "local",
            film_releases.locks["v0.0.2"].digest,
            film_releases.locks["v0.0.1"].digest,
        )
        found_loss = {table.table: table for table in preview.tables}
        assert (found_loss["users"].written, found_loss["users"].lost) == (3, 0)
        assert found_loss["users"].columns == ("mood",)
        film_releases.make_live("v0.0.1", rollback_of=film_releases.locks["v0.0.2"].digest)
        assert [count(a, 5), count(a, 2000)] == [10, 4]
        assert a.execute("SELECT FROM users WHERE user_id = 6").fetchone() is None
        a.execute("UPDATE users SET count = 11 WHERE user_id = 5")
    assert film_releases.environment.ledger.verify() > 3
    assert film_releases.traffic.points == [4000, 4001, 4000]


def test_a_third_release_between_keeps_the_rows_of_the_second(film_releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b"), ("v0.0.3", "c.c:c")):
        film_releases.lock(tag, film_state(), service=service)
    film_releases.deploy("v0.0.1", BUILDERS)
    for number, tag in enumerate(("v0.0.1", "v0.0.2", "v0.0.3"), 1):
        if number > 1:
            film_releases.deploy(tag, BUILDERS)
        with film_releases.connect(tag) as conn:
            conn.execute("INSERT INTO users (user_id, count) VALUES (%s, 1)", [number])
            conn.execute("UPDATE users SET count = count + 1")
    film_releases.make_live("v0.0.1")
    with film_releases.connect("v0.0.1") as conn:
        assert [count(conn, n) for n in (1, 2, 3)] == [4, 3, 2]
    film_releases.make_live("v0.0.2")
    with film_releases.connect("v0.0.2") as conn:
        assert [count(conn, n) for n in (1, 2, 3)] == [4, 3, 2]


def test_a_handover_that_is_done_only_makes_the_router_right(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    first = film_releases.deploy("v0.0.1", BUILDERS)
    film_releases.traffic.current = None
    assert film_releases.make_live("v0.0.1") == first
    assert film_releases.traffic.current == 4000


def test_of_two_handovers_from_one_release_only_one_happens(film_releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b"), ("v0.0.3", "c.c:c")):
        film_releases.lock(tag, film_state(), service=service)
    film_releases.deploy("v0.0.1", BUILDERS)
    old = film_releases.environment.ledger.pointer()
    film_releases.deploy("v0.0.2", BUILDERS)
    film_releases.prepare("v0.0.3", BUILDERS)
    with (
        film_releases.environment.ledger.connect() as conn,
        pytest.raises(MovedError, match="another release became live"),
        control_transaction(conn, None),
    ):
        cutover(conn, "local", old, film_releases.locks["v0.0.3"].digest, Why("ann", "", ""))
    assert film_releases.environment.ledger.pointer().digest == film_releases.locks["v0.0.2"].digest


def test_without_the_lease_nothing_is_handed_over_while_another_deploys(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    film_releases.prepare("v0.0.1", BUILDERS)
    with Lease.acquire(film_releases.conninfo, "local", Holder.this_process()) as lease:
        with pytest.raises(LeaseHeldError):
            film_releases.make_live("v0.0.1")
        assert film_releases.environment.ledger.pointer() == Pointer(None, 0, None)
        film_releases.make_live("v0.0.1", lease=lease.token)
    assert film_releases.environment.ledger.pointer().epoch == 1


def test_the_router_follows_no_one_who_lost_the_lease(film_releases: Releases) -> None:
    for tag in ("v0.0.1", "v0.0.2"):
        film_releases.lock(tag, film_state(), service=f"{tag[-1]}.a:a".replace("1", "a").replace("2", "b"))
        film_releases.prepare(tag, BUILDERS)
    environment, traffic = film_releases.environment, film_releases.traffic
    late = Lease.acquire(environment.conninfo(), "local", Holder.this_process("ada"))
    film_releases.make_live("v0.0.1", lease=late.token)
    break_lease(environment.conninfo(), "local")
    with environment.ledger.connect() as conn, pytest.raises(LeaseLostError):
        follow(environment.conninfo(), conn, "local", traffic, late.token)
    assert traffic.points == [4000]
    late.release()


def test_a_router_that_was_set_by_one_who_was_stopped_is_set_right_by_itself(film_releases: Releases) -> None:
    for tag in ("v0.0.1", "v0.0.2"):
        film_releases.lock(tag, film_state(), service=f"{tag[-1]}.a:a".replace("1", "a").replace("2", "b"))
        film_releases.prepare(tag, BUILDERS)
    environment = film_releases.environment
    film_releases.make_live("v0.0.1")

    class Stopped(MemoryTraffic):
        """Stands still before it writes the first time, until another release is live and its connection is gone."""

        def point(self, port: int) -> None:
            if not self.points:
                break_lease(environment.conninfo(), "local")
                film_releases.make_live("v0.0.2")
            super().point(port)

    late = Lease.acquire(environment.conninfo(), "local", Holder.this_process("ada"))
    traffic = Stopped()
    with environment.ledger.connect() as conn, pytest.raises(psycopg.OperationalError):
        follow(environment.conninfo(), conn, "local", traffic, late.token)
    assert traffic.points == [4000, 4001]
    late.release()


def test_a_half_made_release_is_in_stack_config_for_its_own_deployer_only(film_releases: Releases) -> None:
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        film_releases.lock(tag, film_state())
    film_releases.deploy("v0.0.1", BUILDERS)
    film_releases.prepare("v0.0.2", BUILDERS)
    half = film_releases.bind("v0.0.3")
    session: Any = SimpleNamespace(ledger=film_releases.environment.ledger)
    live = film_releases.locks["v0.0.1"].digest

    assert [binding.release for binding in Session.present(session, live)] == ["v0.0.1", "v0.0.2"]
    assert [b.release for b in Session.present(session, live, half.digest)] == ["v0.0.1", "v0.0.2", "v0.0.3"]
