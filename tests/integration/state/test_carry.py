"""Rows of tables with composite keys and references go along, in both directions, and nothing waits for ever."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.state.carry import drain_once, mark_stale
from mlops_sdk.state.follow import follow_once
from tests.support.environment import Environment
from tests.support.people import add_people, people_state, rows
from tests.support.releases import Releases

# Each is one transaction of a service.
CHANGES = {
    "a key changes, and what refers to it follows": ["UPDATE people SET person = 120 WHERE person = 20"],
    "a key changes, and another row takes it": [
        "UPDATE people SET person = 118 WHERE person = 18",
        "INSERT INTO people (team, person, name) VALUES ('team 0', 18, 'new 18')",
        "UPDATE notes SET person = 18 WHERE person = 118",
    ],
    "a boss goes, with all below": ["DELETE FROM people WHERE person = 1"],
    "a row goes, and what referred to it moves": [
        "UPDATE notes SET person = 3 WHERE team = 'team 1' AND person = 5",
        "UPDATE badges SET person = 3 WHERE team = 'team 1' AND person = 5",
        "UPDATE people SET boss = NULL WHERE person = 5",
        "DELETE FROM people WHERE person = 5",
    ],
    "unique names swap": [
        "SET CONSTRAINTS ALL DEFERRED",
        "UPDATE people SET name = 'name 7' WHERE person = 9",
        "UPDATE people SET name = 'name 9' WHERE person = 7",
    ],
    "names go round in one statement": ["UPDATE people SET name = 'name ' || (person + 1)"],
    "vectors and what is generated": ["UPDATE people SET score = 7, face = '[9,9,9]' WHERE person > 10"],
    "a boss comes with people below": [
        "INSERT INTO people (team, person, boss, name) VALUES ('new', 1, NULL, 'n1'), ('new', 2, 1, 'n2')",
        "INSERT INTO notes (team, person) VALUES ('new', 2) RETURNING note",
        "INSERT INTO badges VALUES (900, 'new', 1)",
    ],
    "a row goes and comes back": [
        "DELETE FROM people WHERE person = 11",
        "INSERT INTO people (team, person, name) VALUES ('team 1', 11, 'again')",
    ],
    "everything goes": ["DELETE FROM people"],
}


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2"):
        extra = [sa.Column("mood", sa.Text)] if tag == "v0.0.2" else []
        found.lock(tag, people_state(*extra), service=f"a.b:s{tag[-1]}")
    found.deploy("v0.0.1")
    with found.connect("v0.0.1") as conn:
        add_people(conn)
    return found


def change(releases: Releases, tag: str, statements: list[str]) -> None:
    with releases.connect(tag) as conn, conn.transaction():
        for statement in statements:
            conn.execute(statement.encode())


def without_mood(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    people = [({k: v for k, v in row.items() if k != "mood"},) for (row,) in found["people"]]
    return {**found, "people": people}


def waiting(releases: Releases) -> int:
    """Rows in all logs and pending tables."""
    with psycopg.connect(releases.environment.admin.get_secret_value()) as conn:
        row = conn.execute(
            "SELECT sum((SELECT count(*) FROM store.log_people) + (SELECT count(*) FROM store.pending_people)"
            " + (SELECT count(*) FROM store.log_notes) + (SELECT count(*) FROM store.pending_notes)"
            " + (SELECT count(*) FROM store.log_badges) + (SELECT count(*) FROM store.pending_badges))"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_whatever_a_service_does_the_follower_holds_the_same(releases: Releases) -> None:
    releases.prepare("v0.0.2")
    digest = releases.locks["v0.0.2"].digest
    with releases.environment.ledger.connect() as conn:
        for name, statements in CHANGES.items():
            change(releases, "v0.0.1", statements)
            drain_once(conn, "local", digest)
            assert without_mood(rows(releases, "v0.0.2")) == rows(releases, "v0.0.1"), name
            # A cascade of a table to itself runs as its owner: the carry's own rows may be logged once more.
            drain_once(conn, "local", digest)
            assert waiting(releases) == 0, name


def test_every_change_goes_along_and_every_change_comes_back(releases: Releases) -> None:
    releases.prepare("v0.0.2")
    for name, statements in CHANGES.items():
        change(releases, "v0.0.1", statements)
        releases.make_live("v0.0.2")
        assert without_mood(rows(releases, "v0.0.2")) == rows(releases, "v0.0.1"), name
        change(releases, "v0.0.2", ["UPDATE people SET score = score + 1, mood = 'good'"])
        before = rows(releases, "v0.0.2")
        releases.make_live("v0.0.1")
        assert rows(releases, "v0.0.1") == without_mood(before), name


def test_a_fork_made_while_rows_change_is_complete(releases: Releases) -> None:
    import threading

    stop = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with releases.connect("v0.0.1") as conn:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    person = 1_000_000 * number + turn
                    with conn.transaction():
                        conn.execute(
                            "INSERT INTO people (team, person, boss, name) VALUES ('w', %s, NULL, %s)",
                            [person, f"w{person}"],
                        )
                        conn.execute("INSERT INTO notes (team, person) VALUES ('w', %s)", [person])
                    if turn % 3 == 0:
                        conn.execute("DELETE FROM people WHERE team = 'w' AND person = %s", [person - 1])
        except BaseException as error:  # noqa: BLE001 - shown below, in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        releases.prepare("v0.0.2")
        with releases.environment.ledger.connect() as conn:
            # Recopied as one while writers go on: no reference is ever broken.
            assert {f.table for f in mark_stale(conn, "local", limit=-1)} == {"people", "notes", "badges"}
        releases.prepare("v0.0.2")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    releases.make_live("v0.0.2")
    assert without_mood(rows(releases, "v0.0.2")) == rows(releases, "v0.0.1")


def test_a_cascade_that_the_carry_causes_is_made_right_and_nothing_accumulates(releases: Releases) -> None:
    releases.prepare("v0.0.2")
    binding = releases.bind("v0.0.2")
    digest = releases.locks["v0.0.2"].digest
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        # As if a person had edited the follower: its own log has the keys, and they are carried to it again.
        admin.execute(f"DELETE FROM {binding.pg_schema}.people WHERE person IN (1, 8)".encode())
    assert rows(releases, "v0.0.2") != rows(releases, "v0.0.1")
    with releases.environment.ledger.connect() as conn:
        drain_once(conn, "local", digest)
        assert without_mood(rows(releases, "v0.0.2")) == rows(releases, "v0.0.1")
        follow_once(conn, "local")
    assert waiting(releases) == 0


def test_a_row_that_the_follower_cannot_hold_is_named(releases: Releases) -> None:
    from mlops_sdk.errors import PolicyError

    releases.prepare("v0.0.2")
    schema = releases.bind("v0.0.2").pg_schema
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute(f"ALTER TABLE {schema}.people ADD CHECK (score < 100)".encode())
    change(releases, "v0.0.1", ["UPDATE people SET score = 100 WHERE person = 1"])
    with pytest.raises(PolicyError, match="cannot hold a row of the live release"):
        releases.make_live("v0.0.2")
    assert releases.environment.ledger.pointer().digest == releases.locks["v0.0.1"].digest
