"""A release that merely follows gets what only the one that is left can give it, before another becomes live."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from mlops_sdk.errors import PolicyError
from mlops_sdk.state import Entity, Forked, State
from mlops_sdk.state.carry import drain_once
from tests.integration.state.test_shift import step
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import metadata, users

A, B, C = "v0.0.1", "v0.0.2", "v0.0.3"


def state(nickname: sa.Column[str] | None, *checks: sa.CheckConstraint, entity: bool = False) -> State:
    table = users(metadata(), *([nickname] if nickname is not None else []))
    for check in checks:
        table.append_constraint(check)
    return State(Forked(table, writer=Entity("user_id")) if entity else Forked(table))


def nickname() -> sa.Column[str]:
    return sa.Column("nickname", sa.Text)


def prepared(
    environment: Environment, folder: Path, *checks: sa.CheckConstraint, entity: bool = False
) -> Releases:
    """A is live, B and C follow it; B alone has no nicknames, and C has `checks`."""
    found = Releases(environment, folder)
    found.lock(A, state(nickname(), entity=entity), service="a.a:a")
    found.lock(B, state(None, entity=entity), service="b.b:b")
    found.lock(C, state(nickname(), *checks, entity=entity), service="c.c:c")
    found.deploy(A)
    with found.connect(A) as a:
        a.execute("INSERT INTO users (user_id) SELECT generate_series(1, 20)")
    found.prepare(B)
    found.prepare(C)
    return found


def nicknames(releases: Releases, tag: str) -> dict[int, str]:
    with releases.connect(tag) as conn:
        return dict(conn.execute("SELECT user_id, nickname FROM users WHERE nickname IS NOT NULL").fetchall())


def test_a_column_that_the_release_between_lacks_arrives_all_the_same(
    environment: Environment, tmp_path: Path
) -> None:
    releases = prepared(environment, tmp_path)
    with releases.connect(A) as a:
        a.execute("UPDATE users SET nickname = 'n' || user_id WHERE user_id <= 5")
    releases.make_live(B)
    with releases.connect(B) as b:
        b.execute("UPDATE users SET count = 7 WHERE user_id = 1")
    releases.make_live(C)
    assert nicknames(releases, C) == {n: f"n{n}" for n in range(1, 6)}
    with releases.connect(C) as c:
        assert c.execute("SELECT count FROM users WHERE user_id = 1").fetchone() == (7,)
        c.execute("UPDATE users SET nickname = 'by C' WHERE user_id = 2")
    releases.make_live(B)
    releases.make_live(A)
    assert nicknames(releases, A)[2] == "by C"


def test_a_column_that_the_release_between_lacked_keeps_what_was_written_when_another_has_it_again(
    environment: Environment, tmp_path: Path
) -> None:
    releases = prepared(environment, tmp_path)
    with releases.connect(A) as a:
        a.execute("UPDATE users SET nickname = 'by A' WHERE user_id = 1")
    releases.make_live(B)
    releases.lock("v0.0.4", state(nickname()), service="d.d:d")
    releases.prepare("v0.0.4")  # from B: nobody has a nickname in it
    with releases.connect(B) as b:
        b.execute("UPDATE users SET count = 7 WHERE user_id = 1")
    releases.make_live("v0.0.4")
    releases.make_live(B)
    releases.make_live(A)
    assert nicknames(releases, A) == {1: "by A"}
    with releases.connect(A) as a:
        assert a.execute("SELECT count FROM users WHERE user_id = 1").fetchone() == (7,)


def test_it_arrives_too_when_entities_are_shifted_and_shifted_back(
    environment: Environment, tmp_path: Path
) -> None:
    releases = prepared(environment, tmp_path, entity=True)
    with releases.connect(A) as a:
        a.execute("UPDATE users SET nickname = 'n' || user_id")
    step(releases, 200, B)
    with environment.ledger.connect() as conn:  # what C waits for is read from B now
        drain_once(conn, "local", releases.locks[C].digest)
    step(releases, 0, B)
    releases.make_live(C)
    assert nicknames(releases, C) == {n: f"n{n}" for n in range(1, 21)}


def test_one_that_cannot_hold_a_row_is_not_waited_for_and_says_so(
    environment: Environment, tmp_path: Path
) -> None:
    releases = prepared(environment, tmp_path, sa.CheckConstraint("nickname <> 'bad'", name="no_bad_names"))
    said: list[str] = []
    with releases.connect(A) as a:
        a.execute("UPDATE users SET nickname = 'bad' WHERE user_id = 3")
    releases.make_live(B, report=said.append)
    assert any("not waited for" in line and "no_bad_names" in line for line in said), said
    with releases.connect(B) as b:
        b.execute("UPDATE users SET count = 1 WHERE user_id = 3")


def test_one_that_cannot_hold_what_comes_at_the_last_moment_must_be_copied_anew(
    environment: Environment, tmp_path: Path
) -> None:
    from mlops_sdk.ledger.database import control_transaction
    from mlops_sdk.state.cutover import Why, cutover

    releases = prepared(environment, tmp_path, sa.CheckConstraint("nickname <> 'bad'", name="no_bad_names"))
    with releases.connect(A) as a:
        a.execute("UPDATE users SET nickname = 'bad' WHERE user_id = 3")
    ledger, digest = environment.ledger, releases.locks[B].digest
    with ledger.connect() as conn:
        with control_transaction(conn, None):
            cutover(conn, "local", ledger.pointer(), digest, Why("ann", "test", ""))
        row = conn.execute("SELECT state FROM mlops.fork WHERE digest = %s", [releases.locks[C].digest])
        assert row.fetchone() == ("stale",)
        with pytest.raises(PolicyError, match="does not follow"), control_transaction(conn, None):
            cutover(conn, "local", ledger.pointer(), releases.locks[C].digest, Why("ann", "test", ""))
    releases.make_live(C)  # copied anew
    assert nicknames(releases, C) == {}
