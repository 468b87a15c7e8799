"""What a rollback does with rows by the policy of their table: leaves them behind and lists them, or replays them."""

import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import PolicyError
from mlops_sdk.state import Forked, Rederive, Shared, State, loss
from mlops_sdk.state.carry import drain_once, set_stale
from mlops_sdk.state.follow import follow_once
from mlops_sdk.state.forks import read_forks
from mlops_sdk.state.replay import replay
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata

COUNT_THEM = """
INSERT INTO tastes AS t (user_id, films) SELECT user_id, count(*) FROM replayed GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET films = t.films + excluded.films
"""


def tastes(meta: sa.MetaData) -> sa.Table:
    return sa.Table(
        "tastes",
        meta,
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("films", sa.Integer, nullable=False, server_default="0"),
    )


def discarding() -> State:
    return State(Forked(tastes(metadata()), policy="discard"))


def rederiving() -> State:
    meta = metadata()
    return State(
        Forked(tastes(meta), policy=Rederive("interactions", COUNT_THEM)), Shared(interactions(meta))
    )


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    return Releases(environment, tmp_path)


def add(releases: Releases, number: int, state: State) -> str:
    return releases.lock(f"v0.0.{number}", state, service=f"a.b:s{number}").release


def held(releases: Releases, tag: str) -> dict[int, int]:
    with releases.connect(tag) as conn:
        return dict(conn.execute("SELECT user_id, films FROM tastes").fetchall())


def run(releases: Releases, tag: str, *statements: str) -> None:
    with releases.connect(tag) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def query(releases: Releases, statement: str) -> list[tuple[Any, ...]]:
    with releases.environment.ledger.connect() as conn:
        return conn.execute(statement.encode()).fetchall()


def watch(releases: Releases, tag: str, user: int) -> None:
    """What a service does: it logs what happened and counts it, in one transaction."""
    with releases.connect(tag) as conn, conn.transaction():
        conn.execute("INSERT INTO interactions (user_id, film_id) VALUES (%s, 1)", [user])
        conn.execute(
            "INSERT INTO tastes AS t VALUES (%s, 1) ON CONFLICT (user_id) DO UPDATE SET films = t.films + 1",
            [user],
        )


def test_discarded_rows_are_left_behind_and_listed(releases: Releases) -> None:
    for number in (1, 2, 3):
        add(releases, number, discarding())
    releases.deploy("v0.0.1")
    run(releases, "v0.0.1", "INSERT INTO tastes VALUES (1, 10), (2, 20), (3, 30)")
    releases.deploy("v0.0.2")
    assert held(releases, "v0.0.2") == {1: 10, 2: 20, 3: 30}  # a new release starts with everything
    releases.prepare("v0.0.3")
    run(
        releases,
        "v0.0.2",
        "UPDATE tastes SET films = 11 WHERE user_id = 1",
        "DELETE FROM tastes WHERE user_id = 2",
        "INSERT INTO tastes VALUES (4, 40), (5, 50)",
        "DELETE FROM tastes WHERE user_id = 5",
        "UPDATE tastes SET films = films WHERE user_id = 3",
    )
    first, second = (releases.locks[tag].digest for tag in ("v0.0.1", "v0.0.2"))
    preview = loss.preview(releases.conninfo, "local", second, first)
    (table,) = preview.tables
    assert (table.lost, table.keys) == (3, ({"user_id": 1}, {"user_id": 2}, {"user_id": 4}))
    assert preview.loses_rows
    entry = releases.make_live("v0.0.1", rollback_of=second)
    assert held(releases, "v0.0.1") == {1: 10, 2: 20, 3: 30}
    listed = "SELECT key, row, n, left_digest, to_digest FROM mlops.loss ORDER BY key"
    assert query(releases, listed) == [
        ({"user_id": 1}, {"user_id": 1, "films": 11}, entry.n, second, first),
        ({"user_id": 2}, None, entry.n, second, first),
        ({"user_id": 4}, {"user_id": 4, "films": 40}, entry.n, second, first),
    ]
    assert query(releases, "SELECT digest, reason FROM mlops.pin") == [(second, "discarded rows")]
    # Who had followed the release that was left follows the live one now.
    run(releases, "v0.0.1", "INSERT INTO tastes VALUES (6, 60)")
    releases.make_live("v0.0.3")
    assert held(releases, "v0.0.3") == {1: 10, 2: 20, 3: 30, 6: 60}


def test_a_kept_release_that_is_deployed_again_leaves_rows_behind_as_well(releases: Releases) -> None:
    for number in (1, 2):
        add(releases, number, discarding())
    releases.deploy("v0.0.1")
    run(releases, "v0.0.1", "INSERT INTO tastes VALUES (1, 10)")
    releases.deploy("v0.0.2")
    run(releases, "v0.0.2", "UPDATE tastes SET films = 2")
    releases.make_live("v0.0.1")
    run(releases, "v0.0.1", "UPDATE tastes SET films = 3", "INSERT INTO tastes VALUES (9, 9)")
    with releases.environment.ledger.connect() as conn:
        assert set(follow_once(conn, "local").values()) == {0}  # keys that are not carried wait for nobody
    releases.make_live("v0.0.2")
    assert held(releases, "v0.0.2") == {1: 2}
    rows = query(releases, "SELECT row FROM mlops.loss ORDER BY id")
    assert [row["films"] for (row,) in rows] == [2, 3, 9]


def test_rows_of_a_release_that_was_left_for_one_without_the_table_are_listed_as_its_own(
    releases: Releases,
) -> None:
    for number, state in ((1, discarding()), (2, discarding()), (3, State(Shared(interactions(metadata()))))):
        add(releases, number, state)
    first, second, third = (releases.locks[f"v0.0.{number}"].digest for number in (1, 2, 3))
    releases.deploy("v0.0.1")
    run(releases, "v0.0.1", "INSERT INTO tastes VALUES (1, 10)")
    releases.deploy("v0.0.2")
    run(releases, "v0.0.2", "UPDATE tastes SET films = 2")
    releases.deploy("v0.0.3")
    tables = {table.table: table for table in loss.preview(releases.conninfo, "local", third, first).tables}
    assert (tables["tastes"].lost, tables["tastes"].keys) == (1, ({"user_id": 1},))
    entry = releases.make_live("v0.0.1", rollback_of=third)
    assert held(releases, "v0.0.1") == {1: 10}
    listed = query(releases, "SELECT row, n, left_digest, to_digest FROM mlops.loss")
    assert listed == [({"user_id": 1, "films": 2}, entry.n, second, first)]
    assert query(releases, "SELECT digest FROM mlops.pin") == [(second,)]


def test_rows_are_replayed_into_a_release_that_was_live(releases: Releases) -> None:
    for number in (1, 2, 3):
        add(releases, number, rederiving())
    releases.deploy("v0.0.1")
    watch(releases, "v0.0.1", 1)
    releases.deploy("v0.0.2")
    for user in (1, 1, 2):
        watch(releases, "v0.0.2", user)
    releases.deploy("v0.0.3")
    assert held(releases, "v0.0.3") == {1: 3, 2: 1}
    with releases.environment.ledger.connect() as conn:
        follow_once(conn, "local")
        follow_once(conn, "local")
    assert held(releases, "v0.0.1") == {1: 3, 2: 1}
    watch(releases, "v0.0.3", 2)
    run(releases, "v0.0.3", "UPDATE tastes SET films = 99 WHERE user_id = 1")  # follows from no row
    third, first = (releases.locks[tag].digest for tag in ("v0.0.3", "v0.0.1"))
    (_, table) = loss.preview(releases.conninfo, "local", third, first).tables
    assert (table.table, table.lost, table.keys) == ("tastes", 1, ({"user_id": 1},))
    assert held(releases, "v0.0.1") == {1: 3, 2: 1}  # a preview replays nothing
    releases.make_live("v0.0.1", rollback_of=third)
    assert held(releases, "v0.0.1") == {1: 3, 2: 2}
    assert query(releases, "SELECT row FROM mlops.loss") == [({"user_id": 1, "films": 99},)]
    watch(releases, "v0.0.1", 2)
    releases.make_live("v0.0.2")
    assert held(releases, "v0.0.2") == {1: 3, 2: 3}


def test_rows_in_flight_between_windows_are_replayed_once_and_none_is_lost(releases: Releases) -> None:
    for number in (1, 2):
        add(releases, number, rederiving())
    releases.deploy("v0.0.1")
    releases.deploy("v0.0.2")
    stop = threading.Event()
    appended = [0, 0, 0]
    failures: list[BaseException] = []

    def append(number: int) -> None:
        """Transactions of several rows that overlap each other; the release's service counts nothing itself."""
        chance = random.Random(number)
        try:
            with releases.connect("v0.0.2") as conn:
                while not stop.is_set():
                    rows = chance.randint(1, 4)
                    with conn.transaction(force_rollback=chance.random() < 0.2) as block:
                        for _ in range(rows):
                            conn.execute(
                                "INSERT INTO interactions (user_id, film_id) VALUES (%s, 1)", [number]
                            )
                    if not block.force_rollback:
                        appended[number] += rows
        except BaseException as error:  # noqa: BLE001 - shown below, in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    digest = releases.locks["v0.0.1"].digest
    with releases.environment.ledger.connect() as conn:
        for _ in range(40):
            drain_once(conn, "local", digest)
    releases.make_live("v0.0.1")  # appends go on: the last window waits for those in flight
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    found = held(releases, "v0.0.1")
    cut_off = query(
        releases,
        "SELECT user_id, count(*) FROM shared.interactions WHERE pg_visible_in_snapshot(mlops_xid, ("
        " SELECT convert_from(body, 'UTF8')::jsonb #>> '{details,snapshot}' FROM mlops.entry"
        "  WHERE kind = 'live' ORDER BY n DESC LIMIT 1)::pg_snapshot) GROUP BY 1",
    )
    assert found == dict(cut_off)
    assert sum(found.values()) > 30
    total = query(releases, "SELECT count(*) FROM shared.interactions")
    assert total == [(sum(appended),)]


def test_rows_of_a_restored_database_are_not_replayed_by_guess(releases: Releases) -> None:
    for number in (1, 2):
        add(releases, number, rederiving())
    releases.deploy("v0.0.1")
    releases.deploy("v0.0.2")
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute("ALTER TABLE shared.interactions ALTER mlops_generation SET DEFAULT 2")
    watch(releases, "v0.0.2", 1)
    with pytest.raises(PolicyError, match=r"the database was restored(.|\n)*deploy it anew"):
        releases.make_live("v0.0.1")
    assert releases.environment.ledger.pointer().digest == releases.locks["v0.0.2"].digest
    # Copied anew from the live release, it starts with its rows.
    with releases.environment.ledger.connect() as conn:
        set_stale(conn, "local", releases.locks["v0.0.1"].digest, ["tastes"])
    releases.make_live("v0.0.1")
    assert held(releases, "v0.0.1") == {1: 1}


def test_a_fork_without_a_snapshot_is_copied_anew(releases: Releases) -> None:
    for number in (1, 2):
        add(releases, number, rederiving())
    releases.deploy("v0.0.1")
    releases.deploy("v0.0.2")
    watch(releases, "v0.0.2", 5)
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute("UPDATE mlops.fork SET replayed = NULL")
    releases.make_live("v0.0.1")
    assert held(releases, "v0.0.1") == {5: 1}


def test_a_replay_reaches_no_second_statement_and_no_other_schema(releases: Releases) -> None:
    for number in (1, 2):
        add(releases, number, rederiving())
    releases.deploy("v0.0.1")
    releases.deploy("v0.0.2")
    watch(releases, "v0.0.2", 1)
    with releases.environment.ledger.connect() as conn:
        (fork,) = read_forks(conn, "local", digests=[releases.locks["v0.0.1"].digest])
    for statement, error in (
        ("SELECT count(*) FROM replayed; RESET ROLE", psycopg.errors.SyntaxError),
        (
            "INSERT INTO store.log_tastes SELECT 1, user_id FROM replayed",
            psycopg.errors.InsufficientPrivilege,
        ),
        ("UPDATE mlops.pointer SET epoch = 9", psycopg.errors.InsufficientPrivilege),
    ):
        spec = fork.spec.model_copy(
            update={"replay": fork.spec.replay.model_copy(update={"statement": statement})}  # type: ignore[union-attr]
        )
        with (
            releases.environment.ledger.connect() as conn,
            pytest.raises(error),
            conn.transaction(),
        ):
            replay(conn, replace(fork, spec=spec))
