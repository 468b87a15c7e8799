"""What is kept, what it takes and what the janitor drops, on a real Postgres."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.state import (
    BuildContext,
    Derived,
    Entity,
    Forked,
    Shared,
    State,
    build,
    cut,
    janitor,
    references,
)
from mlops_sdk.state.fork import fork
from mlops_sdk.state.pins import pin, unpin
from mlops_sdk.state.sizes import read_sizes
from mlops_sdk.traffic.shift import shift
from tests.support.environment import MASTER_KEY, Environment
from tests.support.releases import Releases
from tests.support.tables import content, interactions, metadata, users


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    return Releases(environment, tmp_path)


def build_content(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    del context
    yield [{"film_id": n, "title": f"film {n}", "embedding": [n, 1.0, 0.0, 0.5]} for n in range(50)]


BUILDERS = {"content": build_content}


def state(*, kept_s: int = 0) -> State:
    meta = metadata()
    return State(
        Derived(content(meta), builder="app.build:content", retention=timedelta(seconds=kept_s)),
        Forked(users(meta)),
        Shared(interactions(meta)),
    )


def give_up(releases: Releases, *tags: str) -> None:
    for tag in tags:
        references.unreference(releases.conninfo, "local", releases.locks[tag].digest, lease=None)


def collect(releases: Releases) -> janitor.Collected:
    return janitor.collect(releases.conninfo, "local", lease=None)


def forked(releases: Releases, *tags: str, retention: timedelta = timedelta()) -> None:
    """Deploy releases with nothing but a forked table."""
    for number, tag in enumerate(tags):
        table = Forked(users(metadata()), retention=retention)
        releases.lock(tag, State(table), service=f"app.s{number}:app")
        releases.deploy(tag)


def without(releases: Releases, tag: str) -> None:
    """Deploy a release that needs nothing of the earlier ones."""
    releases.lock(tag, State(Shared(interactions(metadata()))))
    releases.deploy(tag)


def deploy(releases: Releases, *tags: str, **options: Any) -> None:
    for number, tag in enumerate(tags):
        releases.lock(tag, state(**options), service=f"app.s{number}:app")
        releases.deploy(tag, BUILDERS)


def admin(releases: Releases) -> psycopg.Connection[Any]:
    return psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True)


def test_a_dry_run_shows_what_a_run_does_and_changes_nothing(releases: Releases) -> None:
    deploy(releases, "v0.0.1", "v0.0.2")
    without(releases, "v0.0.3")
    give_up(releases, "v0.0.1", "v0.0.2")
    physical = releases.bind("v0.0.1").fingerprints["content"]
    before = releases.environment.ledger.head()

    shown = janitor.preview(releases.conninfo, "local")

    assert releases.environment.ledger.head() == before
    assert shown.names("release") == ("v0.0.1", "v0.0.2")
    assert [name.rpartition("_")[2] for name in shown.names("derived")] == [physical]
    assert shown.names("log") == ("log_users",)
    done = collect(releases)
    assert [(i.kind, i.name) for i in done.dropped] == [(i.kind, i.name) for i in shown.dropped]
    assert (done.left, done.orphans) == (shown.left, ()) == ((), ())
    assert all(item.bytes > 0 for item in done.dropped)
    assert collect(releases).dropped == ()
    with admin(releases) as conn:
        assert conn.execute("SELECT count(*) FROM mlops.fork").fetchone() == (0,)
        found = conn.execute("SELECT relname FROM pg_class WHERE relnamespace = 'store'::regnamespace")
        assert found.fetchall() == []
    # Nothing of it is in the way of the same releases later.
    references.reference(releases.conninfo, "local", releases.locks["v0.0.1"].digest, lease=None)
    releases.deploy("v0.0.1", BUILDERS)


def test_a_pinned_release_stays_until_it_is_unpinned(releases: Releases) -> None:
    forked(releases, "v0.0.1", "v0.0.2")
    first = releases.locks["v0.0.1"].digest
    pin(releases.conninfo, "local", first, reason="an audit", who="ann")
    give_up(releases, "v0.0.1")

    kept = collect(releases)

    assert kept.dropped == ()
    assert [(item.name, item.why) for item in kept.left] == [("v0.0.1", "it is pinned: an audit")]
    assert unpin(releases.conninfo, "local", first, reason="audited", who="bob") == ["an audit"]
    assert collect(releases).names("release") == ("v0.0.1",)
    kinds = [(e.kind, e.actor) for e in releases.environment.ledger.entries(3)]
    assert kinds == [("retired", ""), ("unpinned", "bob"), ("pinned", "ann")]
    with pytest.raises(NotFoundError, match=r"retired(.|\n)*mlops deploy"):
        pin(releases.conninfo, "local", first, reason="too late", who="ann")


def test_retention_counts_from_when_the_last_release_gave_the_table_up(releases: Releases) -> None:
    deploy(releases, "v0.0.1", kept_s=3600)
    releases.lock("v0.0.2", State(Forked(users(metadata()))))
    releases.deploy("v0.0.2")
    give_up(releases, "v0.0.1")

    done = collect(releases)

    assert (done.names("release"), done.names("derived")) == (("v0.0.1",), ())
    assert [item.why.partition(" until ")[0] for item in done.left] == ["it is kept"]
    with admin(releases) as conn:
        conn.execute("UPDATE mlops.physical SET keep_until = keep_until - interval '1 hour'")
    assert len(collect(releases).names("derived")) == 1


def test_forks_stay_for_as_long_as_their_table_declares(releases: Releases) -> None:
    forked(releases, "v0.0.1", "v0.0.2", retention=timedelta(days=1))
    give_up(releases, "v0.0.1")

    (left,) = collect(releases).left

    assert left.why.startswith("its forks are kept until")
    with admin(releases) as conn:
        conn.execute("UPDATE mlops.binding SET unreferenced_at = unreferenced_at - interval '1 day'")
    assert collect(releases).names("release") == ("v0.0.1",)


def test_the_last_rows_of_a_table_stay_while_a_kept_release_has_it_too(releases: Releases) -> None:
    forked(releases, "v0.0.1", "v0.0.2")
    without(releases, "v0.0.3")
    give_up(releases, "v0.0.2")

    (left,) = collect(releases).left

    assert left.why == "it holds the last written rows of users, which v0.0.1 has too"
    give_up(releases, "v0.0.1")
    assert collect(releases).names("release") == ("v0.0.1", "v0.0.2")


def test_a_release_that_entities_are_shifted_to_cannot_be_given_up(releases: Releases) -> None:
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        table = Forked(users(metadata()), writer=Entity("user_id"))
        releases.lock(tag, State(table), service=f"app.s{number}:app")
        releases.prepare(tag)
    releases.make_live("v0.0.1")

    def shift_to(weight: int) -> None:
        shift(
            conninfo=releases.conninfo,
            environment="local",
            target=releases.locks["v0.0.2"].digest,
            weight=weight,
            traffic=releases.traffic,
            lease=None,
        )

    shift_to(256)
    with releases.connect("v0.0.2") as conn:
        conn.execute("INSERT INTO users (user_id) VALUES (1)")
    with pytest.raises(PolicyError, match="being shifted to"):
        give_up(releases, "v0.0.2")
    shift_to(0)
    give_up(releases, "v0.0.2")
    assert collect(releases).names("release") == ("v0.0.2",)
    with releases.connect("v0.0.1") as conn:
        assert conn.execute("SELECT user_id FROM users").fetchall() == [(1,)]


def test_an_abandoned_build_goes_with_its_role_but_not_while_its_builder_lives(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    binding = releases.bind("v0.0.1")
    order = build.prepare(
        releases.conninfo, "local", binding.digest, "content", lease=None, master_key=MASTER_KEY
    )
    assert order is not None
    builder = psycopg.connect(releases.environment.conninfo(order.role).get_secret_value())
    builder.execute("SELECT mlops.build_progress(0, NULL, NULL, 60)")
    builder.commit()
    give_up(releases, "v0.0.1")
    living = collect(releases)
    assert living.names("release") == ("v0.0.1",)
    assert [item.why for item in living.left] == ["a builder works on it"]
    # Stopped inside a transaction: it holds the row and the table, and reports no more.
    builder.execute("SELECT mlops.build_progress(0, NULL, NULL, -60)")
    builder.commit()
    builder.execute("SELECT mlops.build_progress(0, NULL, NULL, 60)")
    with admin(releases) as conn:
        assert len(collect(releases).names("derived")) == 1
        assert conn.execute("SELECT to_regrole(%s)", [order.role]).fetchone() == (None,)
        assert conn.execute("SELECT count(*) FROM mlops.physical").fetchone() == (0,)
    builder.close()


def test_what_no_record_knows_is_reported_and_never_dropped(releases: Releases) -> None:
    deploy(releases, "v0.0.1")
    with admin(releases) as conn:
        conn.execute("CREATE TABLE store.p_stray (a int)")
        conn.execute('CREATE TABLE shared."it\'s; mine" (a int)')
        conn.execute("CREATE SCHEMA rel_stray_000001_00000000")
    for found in (janitor.preview(releases.conninfo, "local"), collect(releases)):
        assert found.dropped == ()
        assert found.orphans == (
            ("pg_schema", "rel_stray_000001_00000000"),
            ("table", "shared.it's; mine"),
            ("table", "store.p_stray"),
        )


def test_what_somebody_holds_or_builds_on_is_left_with_the_reason(releases: Releases) -> None:
    forked(releases, "v0.0.1", "v0.0.2")
    binding = releases.bind("v0.0.1")
    give_up(releases, "v0.0.1")
    fork_of_first = sql.Identifier(binding.pg_schema, "users")
    with admin(releases) as conn:
        with conn.transaction():
            conn.execute(sql.SQL("SELECT count(*) FROM {}").format(fork_of_first))
            assert [item.why for item in collect(releases).left] == ["a session holds a lock on it"]
        conn.execute(sql.SQL("CREATE VIEW public.mine AS SELECT * FROM {}").format(fork_of_first))
        (left,) = collect(releases).left
        assert "view public.mine depends on" in left.why
        assert cut.read(releases.conninfo, binding)  # no half of it is gone
        conn.execute("DROP VIEW public.mine")
    assert collect(releases).names("release") == ("v0.0.1",)


def until_it_waits(
    watcher: psycopg.Connection[Any], of: psycopg.Connection[Any], done: threading.Event
) -> None:
    """Set `done` once the other connection waits for a lock."""
    pid = of.info.backend_pid
    while watcher.execute("SELECT pg_blocking_pids(%s)", [pid]).fetchone() == ([],):
        pass
    done.set()


def test_a_table_that_is_being_reserved_is_left(releases: Releases) -> None:
    deploy(releases, "v0.0.1")
    without(releases, "v0.0.2")
    lock = releases.lock("v0.0.3", state(), service="x.y:z")
    binding = releases.bind("v0.0.3")
    give_up(releases, "v0.0.1")
    with releases.environment.ledger.connect() as planner, control_transaction(planner, None):
        build.reserve(planner, lock, binding)
        done = collect(releases)
        assert (done.names("release"), done.names("derived")) == (("v0.0.1",), ())
        assert [(i.kind, i.why) for i in done.left] == [("derived", "somebody began to use it meanwhile")]
    assert collect(releases).left == ()
    status = build.status(releases.conninfo, binding.fingerprints["content"])
    assert status is not None
    assert status.state == "sealed"


def test_a_table_that_is_being_dropped_is_waited_for_and_wanted_anew(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(releases, "v0.0.1")
    without(releases, "v0.0.2")
    lock = releases.lock("v0.0.3", state(), service="x.y:z")
    binding = releases.bind("v0.0.3")
    give_up(releases, "v0.0.1")
    decided, reserving = threading.Event(), threading.Event()
    drop = janitor._drop_derived

    def slow_drop(*arguments: Any) -> None:
        decided.set()
        assert reserving.wait(10)
        drop(*arguments)

    monkeypatch.setattr(janitor, "_drop_derived", slow_drop)
    collecting = threading.Thread(target=collect, args=[releases])
    collecting.start()
    assert decided.wait(10)
    with (
        admin(releases) as watcher,
        releases.environment.ledger.connect() as planner,
        control_transaction(planner, None, lock_timeout_ms=10_000),
    ):
        waiter = threading.Thread(target=lambda: until_it_waits(watcher, planner, reserving))
        waiter.start()
        build.reserve(planner, lock, binding)
    collecting.join(10)
    waiter.join(10)
    status = build.status(releases.conninfo, binding.fingerprints["content"])
    assert status is not None
    assert (status.state, status.built_for) == ("wanted", "v0.0.3")
    releases.prepare("v0.0.3", BUILDERS)  # the plan builds it; the release is cut with its table
    assert cut.read(releases.conninfo, binding)


def test_a_release_that_is_wanted_again_keeps_its_tables_from_the_next_run(releases: Releases) -> None:
    forked(releases, "v0.0.1", "v0.0.2")
    give_up(releases, "v0.0.1")
    references.reference(releases.conninfo, "local", releases.locks["v0.0.1"].digest, lease=None)
    assert collect(releases).dropped == ()
    assert cut.read(releases.conninfo, releases.bind("v0.0.1"))


def test_bytes_are_told_apart_by_who_uses_them(releases: Releases) -> None:
    deploy(releases, "v0.0.1")
    lock = releases.lock("v0.0.2", state(), service="x.y:z")
    releases.bind("v0.0.2")
    fork(releases.conninfo, "local", lock.digest, "users", lease=None)

    (second, first), totals = read_sizes(releases.conninfo, "local")

    assert [(r.release, r.live, r.status) for r in (second, first)] == [
        ("v0.0.2", False, "bound"),
        ("v0.0.1", True, "cut"),
    ]
    by_name = {table.table: table for table in first.tables}
    assert (by_name["content"].rows, by_name["content"].shared_with) == (50, 1)
    assert first.own_bytes == by_name["users"].bytes > 0
    assert first.shared_bytes == by_name["content"].bytes == totals.store
    assert {table.table: table.state for table in second.tables}["users"] == "following"
    give_up(releases, "v0.0.2")
    collect(releases)
    ((alone,), _) = read_sizes(releases.conninfo, "local")
    assert alone.own_bytes == first.own_bytes + first.shared_bytes
    assert (alone.shared_bytes, alone.tables[0].shared_with) == (0, 0)


def test_sizes_of_a_table_with_a_hostile_name_are_found(releases: Releases) -> None:
    table = sa.Table("select", metadata(), sa.Column("from", sa.Integer, primary_key=True))
    releases.lock("v0.0.1", State(Forked(table)))
    releases.deploy("v0.0.1")
    ((only,), _) = read_sizes(releases.conninfo, "local")
    assert only.tables[0].bytes > 0
    without(releases, "v0.0.2")
    give_up(releases, "v0.0.1")
    assert collect(releases).names("log") == ("log_select",)
