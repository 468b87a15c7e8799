"""Entities move with their writes, bucket by bucket, while writers go on: what was acknowledged is there."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import PolicyError
from mlops_sdk.release.buckets import bucket
from mlops_sdk.state import Entity, Forked, State
from mlops_sdk.state.carry import drain_once
from mlops_sdk.state.shift import Shift, read_shift
from mlops_sdk.traffic.handover import reconcile
from mlops_sdk.traffic.shift import shift
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import metadata, users

KEYS = 40
WRITERS = 4


def shifting() -> State:
    meta = metadata()
    marks = sa.Table(
        "marks",
        meta,
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("film", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False, server_default="0"),
    )
    return State(Forked(marks, writer=Entity("person")), Forked(users(meta)))


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        found.lock(tag, shifting(), service=f"a.b:s{tag[-1]}")
    found.deploy("v0.0.1")
    with found.connect("v0.0.1") as conn:
        conn.execute(
            "INSERT INTO marks (person, film) SELECT 'p' || n, f FROM generate_series(0, %s) n,"
            " generate_series(1, 2) f",
            [KEYS - 1],
        )
    found.prepare("v0.0.2")
    return found


def step(releases: Releases, weight: int, target: str = "v0.0.2") -> None:
    shift(
        conninfo=releases.conninfo,
        environment="local",
        target=releases.locks[target].digest,
        weight=weight,
        traffic=releases.traffic,
        lease=None,
    )


def under_way(releases: Releases) -> Shift | None:
    with releases.environment.ledger.connect() as conn:
        return read_shift(conn, "local")


def marks(releases: Releases, tag: str) -> dict[tuple[str, int], int]:
    with releases.connect(tag) as conn:
        rows = conn.execute("SELECT person, film, count FROM marks").fetchall()
    return {(person, film): count for person, film, count in rows}


def number_of(releases: Releases, person: str) -> int:
    return int(bucket(releases.environment.app, person), 16)


class Service:
    """Counts marks through the router's weight; a refused write is sent again after a look at it."""

    def __init__(self, releases: Releases, number: int) -> None:
        self.releases = releases
        self.chance = random.Random(number)
        self.acknowledged: Counter[tuple[str, int]] = Counter()
        self.refused = 0
        self.slots = {
            4000: releases.connect("v0.0.1"),
            4001: releases.connect("v0.0.2"),
        }
        if number == 0:
            for conn in self.slots.values():
                conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def write(self) -> None:
        key = (f"p{self.chance.randrange(KEYS)}", self.chance.randint(1, 2))
        while True:
            try:
                self.connection(key[0]).execute(
                    "UPDATE marks SET count = count + 1 WHERE person = %s AND film = %s", key
                )
                self.acknowledged[key] += 1
                return
            except psycopg.errors.InsufficientPrivilege:
                self.refused += 1
            except psycopg.errors.SerializationFailure:
                pass

    def connection(self, person: str) -> psycopg.Connection[Any]:
        routes = self.releases.traffic.read()
        moved = number_of(self.releases, person) < routes.next_share
        port = routes.next_port if moved else routes.current_port
        assert port is not None
        return self.slots[port]


@contextmanager
def services(releases: Releases) -> Iterator[list[Service]]:
    stop = threading.Event()
    failures: list[BaseException] = []
    started = [Service(releases, number) for number in range(WRITERS)]

    def serve(service: Service) -> None:
        try:
            while not stop.is_set():
                service.write()
        except BaseException as error:  # noqa: BLE001 - shown below, in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(service,)) for service in started]
    for thread in threads:
        thread.start()
    try:
        yield started
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        for service in started:
            for conn in service.slots.values():
                conn.close()
    assert not failures, failures


def wait_for_writes(started: list[Service], more: int = 60) -> None:
    before = sum(sum(s.acknowledged.values()) for s in started)
    deadline = time.monotonic() + 20
    while sum(sum(s.acknowledged.values()) for s in started) < before + more:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nothing_is_lost_while_entities_move_to_and_fro(releases: Releases) -> None:
    with services(releases) as started:
        for weight in (16, 128, 64, 200, 0, 100, 256):
            step(releases, weight)
            wait_for_writes(started)
        releases.make_live("v0.0.2")
        wait_for_writes(started)
        releases.make_live("v0.0.1")
        wait_for_writes(started)
    total: Counter[tuple[str, int]] = Counter()
    for service in started:
        total += service.acknowledged
    assert {key: n for key, n in marks(releases, "v0.0.1").items() if n} == total
    assert sum(service.refused for service in started) > 0
    releases.make_live("v0.0.2")
    assert {key: n for key, n in marks(releases, "v0.0.2").items() if n} == total


def test_each_release_writes_its_own_buckets_and_no_others(releases: Releases) -> None:
    people = [f"p{n}" for n in range(KEYS)]
    with releases.connect("v0.0.1") as a, releases.connect("v0.0.2") as b:
        for weight in (100, 30, 0):
            step(releases, weight)
            for person in people:
                mine, other = (b, a) if number_of(releases, person) < weight else (a, b)
                mine.execute("UPDATE marks SET count = count + 1 WHERE person = %s", [person])
                for refused in (
                    "UPDATE marks SET count = 9 WHERE person = %s",
                    "DELETE FROM marks WHERE person = %s",
                    "INSERT INTO marks VALUES (%s, 3)",
                ):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        other.execute(refused.encode(), [person])
            for own in (a, b) if weight else (b,):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), own.transaction():
                    # To a key of somebody else's: old and new are both looked at.
                    own.execute("UPDATE marks SET person = 'q' || person")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                b.execute("INSERT INTO users (user_id) VALUES (1)")  # not an entity's: fenced as ever
        a.execute("INSERT INTO users (user_id) VALUES (1)")
    assert set(marks(releases, "v0.0.1").values()) == {3}
    assert under_way(releases) is None


def test_a_release_forked_during_a_shift_has_the_rows_of_both(releases: Releases) -> None:
    step(releases, 128)
    with releases.connect("v0.0.1") as a, releases.connect("v0.0.2") as b:
        for n in range(KEYS):
            conn = b if number_of(releases, f"p{n}") < 128 else a
            conn.execute("UPDATE marks SET count = %s WHERE person = %s", [n + 1, f"p{n}"])
    releases.prepare("v0.0.3")
    assert marks(releases, "v0.0.3") == {(f"p{n}", f): n + 1 for n in range(KEYS) for f in (1, 2)}
    with pytest.raises(PolicyError, match="being shifted to"):
        step(releases, 10, "v0.0.3")
    # Another release becomes live: the shift is turned back first.
    releases.make_live("v0.0.3")
    assert under_way(releases) is None
    assert marks(releases, "v0.0.3") == {(f"p{n}", f): n + 1 for n in range(KEYS) for f in (1, 2)}
    with releases.connect("v0.0.2") as b, pytest.raises(psycopg.errors.InsufficientPrivilege):
        b.execute("UPDATE marks SET count = 0")


def test_making_the_live_release_live_turns_a_shift_back(releases: Releases) -> None:
    step(releases, 128)
    releases.make_live("v0.0.1")
    assert under_way(releases) is None
    assert releases.traffic.read().leads_only_to(4000)
    with releases.connect("v0.0.1") as a:
        assert a.execute("UPDATE marks SET count = 1").rowcount == 2 * KEYS


def test_the_router_is_made_to_agree_with_a_shift(releases: Releases) -> None:
    step(releases, 77)
    releases.traffic.set_slots(1, None)
    reconcile(releases.conninfo, "local", releases.traffic)
    routes = releases.traffic.read()
    assert (routes.current_port, routes.next_port, routes.next_share) == (4000, 4001, 77)


def test_a_table_that_the_live_release_has_not_comes_whole_from_who_wrote_it_last(releases: Releases) -> None:
    """v0.0.1 and v0.0.2 have marks; v0.0.4, live in between, has none: a shift from it moves no writes of them."""
    releases.lock("v0.0.4", State(Forked(users(metadata()))), service="a.b:s4")
    releases.prepare("v0.0.4")
    with releases.connect("v0.0.1") as conn:
        conn.execute("INSERT INTO marks SELECT 'late' || n, 1 FROM generate_series(1, 50) n")
    written = marks(releases, "v0.0.1")
    releases.make_live("v0.0.4")

    step(releases, 200)
    with releases.environment.ledger.connect() as conn:
        drain_once(conn, "local", releases.locks["v0.0.2"].digest)
    assert marks(releases, "v0.0.2") == written
    releases.make_live("v0.0.2")
    assert marks(releases, "v0.0.2") == written
