"""Tables of releases on a real Postgres: what a release sees, may write, and takes along."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import InputError, LeaseHeldError, MovedError, PolicyError
from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.ledger.entries import Pointer
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.state import (
    BuildContext,
    Derived,
    Forked,
    Shared,
    Source,
    State,
    build,
    cut,
    fork,
    janitor,
    loss,
    references,
    shared,
)
from mlops_sdk.state.cutover import Why, cutover
from mlops_sdk.state.fill import Build
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import content, interactions, metadata, users


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("CREATE TABLE films (film_id int PRIMARY KEY, title text)")
        conn.execute("INSERT INTO films SELECT n, 'film ' || n FROM generate_series(1, 200) AS n")
    return Releases(environment, tmp_path)


def build_content(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    for row in context.source("films", "SELECT film_id, title FROM films ORDER BY film_id"):
        yield [{**row, "embedding": [row["film_id"], 1.0, 0.0, 0.5]}]


BUILDERS: Mapping[str, Build] = {"content": build_content}


def state(*users_extra: sa.Column[Any]) -> State:
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
    row = conn.execute("SELECT count FROM users WHERE user_id = %s", [user]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_release_sees_its_tables_and_no_others(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.deploy("v0.0.1", BUILDERS)
    with releases.connect("v0.0.1") as conn:
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


def test_a_release_that_changes_no_input_reuses_the_table(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    first = releases.prepare("v0.0.1", BUILDERS)
    releases.lock("v0.0.2", state(), service="a.b:c")
    second = releases.bind("v0.0.2")
    assert first.fingerprints == second.fingerprints
    assert build.prepare(releases.conninfo, "local", second.digest, "content", lease=None) is None
    found = build.status(releases.conninfo, second.fingerprints["content"])
    assert found is not None
    assert (found.state, found.rows, found.built_for) == ("sealed", 200, "v0.0.1")


def test_a_build_goes_on_after_a_kill_and_fences_the_late_builder(releases: Releases) -> None:
    from mlops_sdk.state import Batch
    from mlops_sdk.state.fill import FencedError, fill

    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")
    started: list[str | None] = []

    def builder(context: BuildContext) -> Iterator[Batch]:
        started.append(context.resume_after)
        after = int(context.resume_after or 0)
        for row in context.source(
            "films", "SELECT * FROM films WHERE film_id > %s ORDER BY film_id", [after]
        ):
            if row["film_id"] == 100 and len(started) == 1:
                raise KeyboardInterrupt
            yield Batch([{**row, "embedding": [1, 2, 3, 4]}], cursor=str(row["film_id"]))

    first = releases.order("v0.0.1", "content")
    assert first is not None
    with pytest.raises(KeyboardInterrupt):
        fill(releases.settings("v0.0.1", first), builder)
    second = releases.order_after_the_last("v0.0.1", "content")
    assert second.attempt == 2
    with pytest.raises(FencedError):
        fill(releases.settings("v0.0.1", first), builder)
    assert fill(releases.settings("v0.0.1", second), builder) == 200
    assert started == [None, "99"]
    sealed = build.seal(releases.conninfo, second.fingerprint, lease=None)
    assert (sealed.state, sealed.rows) == ("sealed", 200)
    assert build.seal(releases.conninfo, second.fingerprint, lease=None) == sealed
    with pytest.raises(FencedError):
        fill(releases.settings("v0.0.1", second), builder)


def test_a_builder_gets_only_what_its_table_declares(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")
    order = releases.order("v0.0.1", "content")
    assert order is not None
    spec = releases.locks["v0.0.1"].tables["content"]
    with BuildContext(releases.settings("v0.0.1", order), spec) as context:
        for ask in (
            lambda: context.model("embedder"),
            lambda: list(context.rows("other")),
            lambda: list(context.source("users")),
        ):
            with pytest.raises(PolicyError, match="does not declare"):
                ask()
        with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
            admin.execute("INSERT INTO films VALUES (0, 'new')")
        with pytest.raises(PolicyError, match="changed since the release was bound"):
            list(context.source("films"))


def test_a_cut_without_its_tables_names_the_command_that_makes_them(releases: Releases) -> None:
    from pydantic import SecretStr

    lock = releases.lock("v0.0.1", state())
    binding = releases.bind("v0.0.1")
    with pytest.raises(PolicyError, match=r"content of release v0\.0\.1 is not built(.|\n)*mlops deploy"):
        cut.cut(releases.conninfo, lock, binding, SecretStr("x"))
    releases.build("v0.0.1", "content", build_content)
    with pytest.raises(PolicyError, match=r"users of release v0\.0\.1 is not forked(.|\n)*mlops deploy"):
        cut.cut(releases.conninfo, lock, binding, SecretStr("x"))
    fork.fork(releases.conninfo, "local", lock.digest, "users", lease=None)
    with pytest.raises(PolicyError, match=r"interactions(.|\n)*mlops deploy"):
        cut.cut(releases.conninfo, lock, binding, SecretStr("x"))
    assert not cut.read(releases.conninfo, binding)
    shared.ensure(releases.conninfo, "local", lock, "interactions", lease=None)
    for _ in range(2):
        cut.cut(releases.conninfo, lock, binding, SecretStr("x"))
        assert cut.read(releases.conninfo, binding)


def test_rows_go_along_to_the_next_release_and_back(releases: Releases) -> None:
    for tag, extra in (("v0.0.1", []), ("v0.0.2", [sa.Column("mood", sa.Text)])):
        releases.lock(tag, state(*extra))
    releases.deploy("v0.0.1", BUILDERS)
    with releases.connect("v0.0.1") as a:
        a.execute(
            "INSERT INTO users (user_id, count, liked) SELECT n, 1, '{1,2}' FROM generate_series(1, 50) n"
        )
        releases.prepare("v0.0.2", BUILDERS)
        a.execute("DELETE FROM users WHERE user_id = 3")
        a.execute("UPDATE users SET user_id = 1000 WHERE user_id = 4")
        a.execute("UPDATE users SET count = 9 WHERE user_id = 5")
        with releases.connect("v0.0.2") as b:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                b.execute("UPDATE users SET count = 0")
            releases.make_live("v0.0.2")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                a.execute("UPDATE users SET count = 0")
            found = b.execute("SELECT user_id, count FROM users WHERE user_id IN (3, 4, 5, 1000) ORDER BY 1")
            assert found.fetchall() == [(5, 9), (1000, 1)]
            b.execute("UPDATE users SET count = count + 1, mood = 'good' WHERE user_id = 5")
            b.execute("INSERT INTO users (user_id, count) VALUES (2000, 4)")
            b.execute("DELETE FROM users WHERE user_id = 6")
        preview = loss.preview(
            releases.conninfo, "local", releases.locks["v0.0.2"].digest, releases.locks["v0.0.1"].digest
        )
        found_loss = {table.table: table for table in preview.tables}
        assert (found_loss["users"].written, found_loss["users"].lost) == (3, 0)
        assert found_loss["users"].columns == ("mood",)
        releases.make_live("v0.0.1", rollback_of=releases.locks["v0.0.2"].digest)
        assert [count(a, 5), count(a, 2000)] == [10, 4]
        assert a.execute("SELECT FROM users WHERE user_id = 6").fetchone() is None
        a.execute("UPDATE users SET count = 11 WHERE user_id = 5")
    assert releases.environment.ledger.verify() > 3
    assert releases.traffic.points == [4000, 4001, 4000]


def test_a_third_release_between_keeps_the_rows_of_the_second(releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b"), ("v0.0.3", "c.c:c")):
        releases.lock(tag, state(), service=service)
    releases.deploy("v0.0.1", BUILDERS)
    for number, tag in enumerate(("v0.0.1", "v0.0.2", "v0.0.3"), 1):
        if number > 1:
            releases.deploy(tag, BUILDERS)
        with releases.connect(tag) as conn:
            conn.execute("INSERT INTO users (user_id, count) VALUES (%s, 1)", [number])
            conn.execute("UPDATE users SET count = count + 1")
    releases.make_live("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        assert [count(conn, n) for n in (1, 2, 3)] == [4, 3, 2]
    releases.make_live("v0.0.2")
    with releases.connect("v0.0.2") as conn:
        assert [count(conn, n) for n in (1, 2, 3)] == [4, 3, 2]


def test_a_handover_that_is_done_only_makes_the_router_right(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    first = releases.deploy("v0.0.1", BUILDERS)
    releases.traffic.current = None
    assert releases.make_live("v0.0.1") == first
    assert releases.traffic.current == 4000


def test_of_two_handovers_from_one_release_only_one_happens(releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b"), ("v0.0.3", "c.c:c")):
        releases.lock(tag, state(), service=service)
    releases.deploy("v0.0.1", BUILDERS)
    old = releases.environment.ledger.pointer()
    releases.deploy("v0.0.2", BUILDERS)
    releases.prepare("v0.0.3", BUILDERS)
    with (
        releases.environment.ledger.connect() as conn,
        pytest.raises(MovedError, match="another release became live"),
        control_transaction(conn, None),
    ):
        cutover(conn, "local", old, releases.locks["v0.0.3"].digest, Why("ann", "", ""))
    assert releases.environment.ledger.pointer().digest == releases.locks["v0.0.2"].digest


def test_without_the_lease_nothing_is_handed_over_while_another_deploys(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.prepare("v0.0.1", BUILDERS)
    with Lease.acquire(releases.conninfo, "local", Holder.this_process()) as lease:
        with pytest.raises(LeaseHeldError):
            releases.make_live("v0.0.1")
        assert releases.environment.ledger.pointer() == Pointer(None, 0, None)
        releases.make_live("v0.0.1", lease=lease.token)
    assert releases.environment.ledger.pointer().epoch == 1


def test_shared_tables_only_grow(releases: Releases) -> None:
    releases.lock("v0.0.1", State(Shared(interactions(metadata()))))
    releases.deploy("v0.0.1")
    releases.lock("v0.0.2", State(Shared(interactions(metadata(), sa.Column("rating", sa.Integer)))))
    releases.deploy("v0.0.2")
    with releases.connect("v0.0.2") as b, releases.connect("v0.0.1") as a:
        b.execute("INSERT INTO interactions (user_id, film_id, rating) VALUES (1, 2, 5)")
        a.execute("INSERT INTO interactions (user_id, film_id) VALUES (1, 3)")
        assert b.execute("SELECT film_id, rating FROM interactions ORDER BY 1").fetchall() == [
            (2, 5),
            (3, None),
        ]
    lock = releases.lock(
        "v0.0.3", State(Shared(interactions(metadata(), sa.Column("rating", sa.Text, nullable=False))))
    )
    releases.bind("v0.0.3")
    with pytest.raises(PolicyError, match="can only be expanded"):
        shared.ensure(releases.conninfo, "local", lock, "interactions", lease=None)


def test_columns_that_cannot_be_carried_are_refused_before_the_cut(releases: Releases) -> None:
    releases.lock("v0.0.1", State(Forked(users(metadata()))))
    releases.deploy("v0.0.1")
    lock = releases.lock(
        "v0.0.2", State(Forked(users(metadata(), sa.Column("n", sa.Integer, nullable=False))))
    )
    releases.bind("v0.0.2")
    with pytest.raises(PolicyError, match="give it a default"):
        fork.fork(releases.conninfo, "local", lock.digest, "users", lease=None)


def test_identities_of_a_forked_table_never_repeat(releases: Releases) -> None:
    def notes() -> State:
        columns = (
            sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
            sa.Column("text", sa.Text),
        )
        return State(Forked(sa.Table("notes", metadata(), *columns)))

    insert = "INSERT INTO notes (text) VALUES ('x') RETURNING id"
    ids = []
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, notes(), service=service)
        releases.deploy(tag)
        with releases.connect(tag) as conn:
            ids += [conn.execute(insert.encode()).fetchone()]
    releases.make_live("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        ids += [conn.execute(insert.encode()).fetchone()]
        assert conn.execute("SELECT id FROM notes ORDER BY id").fetchall() == ids
    assert len(set(ids)) == 3


def test_forked_tables_that_refer_to_each_other_go_together(releases: Releases) -> None:
    def orders() -> State:
        meta = metadata()
        parent = sa.Table("parents", meta, sa.Column("id", sa.Integer, primary_key=True))
        child = sa.Table(
            "children",
            meta,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("parent", sa.Integer, sa.ForeignKey(parent.c.id), nullable=False),
            sa.Column("name", sa.Text, unique=True),
        )
        return State(Forked(child), Forked(parent))

    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, orders(), service=service)
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as a:
        a.execute("INSERT INTO parents SELECT generate_series(1, 10)")
        a.execute("INSERT INTO children SELECT n, n, 'c' || n FROM generate_series(1, 10) n")
        releases.prepare("v0.0.2")
        a.execute("INSERT INTO parents VALUES (11)")
        a.execute("UPDATE children SET parent = 11 WHERE id = 1")
        a.execute("DELETE FROM parents WHERE id = 1")
        a.execute("UPDATE children SET name = CASE id WHEN 2 THEN 'c3' ELSE 'c0' END WHERE id = 2 AND false")
    releases.make_live("v0.0.2")
    with releases.connect("v0.0.2") as b:
        assert b.execute("SELECT parent FROM children WHERE id = 1").fetchone() == (11,)
        assert b.execute("SELECT FROM parents WHERE id = 1").fetchone() is None
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            b.execute("DELETE FROM parents WHERE id = 11")


def test_the_janitor_drops_what_nobody_wants_and_nothing_else(releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, state(), service=service)
        releases.deploy(tag, BUILDERS)
    first, second = (releases.bind(tag) for tag in ("v0.0.1", "v0.0.2"))
    with pytest.raises(PolicyError, match="is live"):
        references.unreference(releases.conninfo, "local", second.digest, lease=None)
    assert janitor.collect(releases.conninfo, "local", lease=None).dropped == ()
    references.unreference(releases.conninfo, "local", first.digest, lease=None)
    references.reference(releases.conninfo, "local", first.digest, lease=None)
    assert cut.read(releases.conninfo, first)
    references.unreference(releases.conninfo, "local", first.digest, lease=None)
    # The config that left the release out is the entry's cause: else applying it again would be refused.
    done = janitor.collect(releases.conninfo, "local", lease=None, cause="sha256:config")
    assert (done.names("release"), done.names("derived"), done.left) == (("v0.0.1",), (), ())
    entry = Ledger(releases.conninfo, "local").head()
    assert entry is not None
    assert (entry.kind, entry.cause) == ("retired", "sha256:config")
    assert not cut.read(releases.conninfo, first)
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count(*) FROM content").fetchone() == (200,)
        conn.execute("INSERT INTO users (user_id) VALUES (1)")
    # A release that was retired can be deployed again.
    references.reference(releases.conninfo, "local", first.digest, lease=None)
    releases.deploy("v0.0.1", BUILDERS)
    with releases.connect("v0.0.1") as conn:
        assert count(conn, 1) == 0
    references.unreference(releases.conninfo, "local", second.digest, lease=None)
    assert janitor.collect(releases.conninfo, "local", lease=None).names("release") == ("v0.0.2",)


def test_postgres_refuses_to_drop_what_a_release_needs(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    binding = releases.prepare("v0.0.1", BUILDERS)
    found = build.status(releases.conninfo, binding.fingerprints["content"])
    assert found is not None
    with releases.environment.ledger.connect() as conn:
        for name in (f"store.{found.physical}", f"{binding.pg_schema}.users", "shared.interactions"):
            with pytest.raises(psycopg.errors.DependentObjectsStillExist):
                conn.execute(f"DROP TABLE {name}".encode())


def test_following_keeps_the_releases_close_and_the_log_empty(releases: Releases) -> None:
    from mlops_sdk.state.follow import follow_once

    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, State(Forked(users(metadata()))), service=service)
        releases.deploy(tag)
    with releases.connect("v0.0.2") as b, releases.environment.ledger.connect() as conn:
        b.execute("INSERT INTO users (user_id) SELECT generate_series(1, 3000)")
        digests = [releases.locks[tag].digest for tag in ("v0.0.1", "v0.0.2")]
        assert follow_once(conn, "local") == {digests[0]: 1000, digests[1]: 0}
        assert follow_once(conn, "local") == {digests[0]: 0, digests[1]: 0}
        assert conn.execute("SELECT count(*) FROM store.log_users").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM store.pending_users").fetchone() == (0,)
    with releases.connect("v0.0.1") as a:
        assert a.execute("SELECT count(*) FROM users").fetchone() == (3000,)


def test_a_fork_that_fell_far_behind_is_copied_anew(releases: Releases) -> None:
    from mlops_sdk.state.carry import drain_once, mark_stale

    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, State(Forked(users(metadata()))), service=service)
        releases.deploy(tag)
    with releases.connect("v0.0.2") as b, releases.environment.ledger.connect() as conn:
        b.execute("INSERT INTO users (user_id) SELECT generate_series(1, 3000)")
        drain_once(conn, "local", releases.locks["v0.0.1"].digest)
        assert [fork.table for fork in mark_stale(conn, "local", limit=500)] == ["users"]
        b.execute("DELETE FROM users WHERE user_id <= 100")
    releases.make_live("v0.0.1")
    with releases.connect("v0.0.1") as a:
        assert a.execute("SELECT count(*), min(user_id) FROM users").fetchone() == (2900, 101)
        a.execute("UPDATE users SET count = 1")


def test_a_builder_that_failed_is_replaced_at_once(releases: Releases) -> None:
    from mlops_sdk.state.fill import fill

    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")

    def wrong(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        yield [{"film_id": 1, "title": "x", "embedding": [1, 2, 3, 4]}] * 2

    def odd(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        yield [{"film_id": 1}]

    for builder, sentence in ((wrong, "break the table's keys"), (odd, "other columns than declared: ")):
        order = releases.order("v0.0.1", "content")
        assert order is not None
        with pytest.raises(InputError, match=sentence):
            fill(releases.settings("v0.0.1", order), builder)
    assert releases.build("v0.0.1", "content", build_content).rows == 200
