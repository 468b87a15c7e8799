"""The mark of an effect and the effect stay together, whatever a rollback does with them."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import InputError
from mlops_sdk.messaging import Envelope, NotInTransactionError, once
from mlops_sdk.messaging.pointer import PointerGate
from mlops_sdk.state import Entity, Forked, Rederive, Shared, State
from mlops_sdk.state.marks import marks_of
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata


def scores(meta: sa.MetaData) -> sa.Table:
    return sa.Table("scores", meta, sa.Column("customer", sa.Text, primary_key=True))


def state(policy: Any) -> State:
    effects = Forked(scores(metadata()), policy=policy)
    return State(effects, marks_of(effects))


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    return Releases(environment, tmp_path)


def score(conn: psycopg.Connection[Any], message: Envelope) -> bool:
    """The effect of a message, once."""
    with conn.transaction():
        if first := once(conn, "scores_marks", message):
            conn.execute("INSERT INTO scores VALUES (%s)", [message.payload["customer"]])
        return first


@pytest.mark.parametrize(("policy", "kept"), [("carry", True), ("discard", False)])
def test_a_rollback_carries_or_discards_the_effect_and_its_mark_together(
    releases: Releases, policy: str, kept: bool
) -> None:
    for number in (1, 2):
        releases.lock(f"v0.0.{number}", state(policy), service=f"a.b:s{number}")
        releases.deploy(f"v0.0.{number}")
    message = Envelope(kind="score", payload={"customer": "ann"})
    with releases.connect("v0.0.2") as conn:
        assert score(conn, message)
    releases.make_live("v0.0.1", rollback_of=releases.locks["v0.0.2"].digest)
    with releases.connect("v0.0.1") as conn:
        effects = conn.execute("SELECT count(*) FROM scores").fetchone()
        marks = conn.execute("SELECT count(*) FROM scores_marks").fetchone()
        assert effects == marks == (int(kept),)
        assert score(conn, message) is not kept  # delivered again, it happens again only if it was discarded
        assert conn.execute("SELECT customer FROM scores").fetchall() == [("ann",)]


def test_an_effect_that_fails_leaves_no_mark(releases: Releases) -> None:
    releases.lock("v0.0.1", state("carry"), service="a.b:s1")
    releases.deploy("v0.0.1")
    message = Envelope(kind="score", payload={"customer": "ann"})
    with releases.connect("v0.0.1") as conn:
        with pytest.raises(psycopg.errors.NotNullViolation), conn.transaction():
            assert once(conn, "scores_marks", message)
            conn.execute("INSERT INTO scores VALUES (NULL)")
        assert score(conn, message)
        assert not score(conn, message)
        with conn.transaction():
            assert once(conn, "scores_marks", message, effect="mail")  # another effect of the same message


def test_a_mark_outside_of_a_transaction_is_refused(releases: Releases) -> None:
    releases.lock("v0.0.1", state("carry"), service="a.b:s1")
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        with pytest.raises(NotInTransactionError, match="scores_marks"):
            once(conn, "scores_marks", Envelope(kind="score"))
        assert conn.execute("SELECT count(*) FROM scores_marks").fetchone() == (0,)


def test_consumers_take_messages_only_while_the_pointer_names_their_release(releases: Releases) -> None:
    gates = {}
    for number in (1, 2):
        tag = f"v0.0.{number}"
        releases.lock(tag, state("carry"), service=f"a.b:s{number}")
        conninfo = releases.environment.conninfo(releases.prepare(tag).role)
        gates[tag] = PointerGate(
            conninfo,
            environment="local",
            digest=releases.locks[tag].digest,
            clock=iter(range(0, 99, 2)).__next__,
        )
    assert (gates["v0.0.1"](), gates["v0.0.2"]()) == (False, False)
    releases.make_live("v0.0.1")
    assert (gates["v0.0.1"](), gates["v0.0.2"]()) == (True, False)
    releases.make_live("v0.0.2")
    assert (gates["v0.0.1"](), gates["v0.0.2"]()) == (False, True)
    releases.make_live("v0.0.1", rollback_of=releases.locks["v0.0.2"].digest)
    assert (gates["v0.0.1"](), gates["v0.0.2"]()) == (True, False)
    with releases.connect("v0.0.2") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        score(
            conn, Envelope(kind="score", payload={"customer": "late"})
        )  # and Postgres refuses who has not noticed
    for gate in gates.values():
        gate.close()


def test_marks_have_the_kind_policy_and_writer_of_their_effects() -> None:
    meta = metadata()
    forked = Forked(scores(meta), policy="discard")
    marks = marks_of(forked)
    assert isinstance(marks, Forked)
    assert (marks.table.name, marks.policy, marks.writer) == ("scores_marks", "discard", "current")
    assert isinstance(marks_of(Shared(interactions(meta))), Shared)


def test_marks_that_nobody_could_keep_together_with_their_effects_are_refused() -> None:
    meta = metadata()
    with pytest.raises(InputError, match="writer for each customer"):
        marks_of(Forked(scores(meta), writer=Entity("customer")))
    rederived = Forked(sa.Table("counts", meta), policy=Rederive("interactions", "INSERT ..."))
    with pytest.raises(InputError, match="nothing says how its marks are"):
        marks_of(rederived)
    with pytest.raises(InputError, match="nothing says how its marks are"):
        marks_of(rederived, rederive=Rederive("other", "INSERT ..."))
