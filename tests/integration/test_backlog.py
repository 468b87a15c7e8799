"""A cutover does not carry a backlog while writers stand still."""

from pathlib import Path

import psycopg
import pytest

from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.state import Forked, State
from mlops_sdk.state.cutover import Why, cutover
from mlops_sdk.state.drain import BacklogError, drain
from tests.support.environment import Environment
from tests.support.faults.statements import Statement, watch
from tests.support.releases import Releases
from tests.support.tables import metadata, users


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2"):
        found.lock(tag, State(Forked(users(metadata()))))
    found.deploy("v0.0.1")
    found.prepare("v0.0.2")
    with found.connect("v0.0.1") as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1, 100)")
    return found


def move(releases: Releases, at_most: int) -> None:
    ledger = releases.environment.ledger
    with ledger.connect() as conn, control_transaction(conn, None):
        target, why = releases.locks["v0.0.2"].digest, Why("ann", "test", "")
        cutover(conn, "local", ledger.pointer(), target, why, at_most=at_most)


@pytest.mark.parametrize("fanned_out", [False, True], ids=["in the log", "waiting for the target"])
def test_a_cutover_that_has_too_much_to_carry_stops_no_writer(releases: Releases, fanned_out: bool) -> None:
    if fanned_out:
        with releases.environment.ledger.connect() as conn, control_transaction(conn, None):
            drain(conn, "local", releases.locks["v0.0.2"].digest, limit=1)
    sent: list[str] = []
    with watch(lambda statement, _: sent.append(statement.text)), pytest.raises(BacklogError):
        move(releases, at_most=98)
    assert not [text for text in sent if text.startswith("LOCK TABLE")]
    move(releases, at_most=100)
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (100,)


def test_a_cutover_refuses_what_is_written_until_it_has_its_locks(releases: Releases) -> None:
    writer = releases.connect("v0.0.1")

    def write_more(statement: Statement, _: object) -> None:
        if statement.text.startswith("LOCK TABLE"):
            writer.execute("UPDATE users SET count = count + 1 WHERE user_id <= 9")

    with writer:
        with watch(write_more), pytest.raises(BacklogError):
            move(releases, at_most=108)
        with watch(write_more):
            move(releases, at_most=118)
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT sum(count) FROM users WHERE user_id <= 9").fetchone() == (18,)


def test_a_cutover_waits_for_a_drain_longer_than_for_a_writer(releases: Releases) -> None:
    digest = releases.locks["v0.0.2"].digest
    ledger = releases.environment.ledger
    with ledger.connect() as drainer, ledger.connect() as conn, control_transaction(drainer, None):
        drain(drainer, "local", digest)
        # Cancelled by its own patience of 0.9 s, not after the 0.3 s for which it waits for writers.
        with pytest.raises(psycopg.errors.QueryCanceled), control_transaction(conn, None):
            conn.execute("SET LOCAL statement_timeout = '900ms'")
            cutover(conn, "local", ledger.pointer(), digest, Why("ann", "test", ""))
    move(releases, at_most=100)
