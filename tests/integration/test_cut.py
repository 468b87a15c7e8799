"""The cut on a real Postgres: vector searches, names of any kind, few or many tables and releases."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC, Vector
from psycopg import sql

from mlops_sdk.errors import PolicyError
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.state import BuildContext, Derived, Forked, Shared, State, cut, fork, shared
from mlops_sdk.state.drift import drift
from mlops_sdk.state.fill import Build
from tests.support.environment import MASTER_KEY, Environment
from tests.support.releases import Releases
from tests.support.tables import interactions, users

BUILDER = "app.build:content"
LONGEST = "ä" * 31 + "z"
# All at once in one table: what breaks a statement, a placeholder, a format or a language if it is not quoted.
HOSTILE = (
    'quote"s', "'", ";--", "$$", "a b", "{}", "{key}", "%s", "%(x)s", "\n\\", "(x", "Select",
    "select", "user", "found", "new", "tg_argv", "tg_op", "new_rows", "src", "target", "k", "s", "t", "d", "日本",
    "🎬", LONGEST,
)  # fmt: skip


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    return Releases(environment, tmp_path)


def faults(releases: Releases, tag: str) -> list[str]:
    with releases.environment.ledger.connect() as conn:
        return drift(conn, releases.bind(tag), releases.locks[tag].tables)


def searched(*, method: str = "hnsw") -> sa.Table:
    ops = {"vector": "vector_cosine_ops", "half": "halfvec_l2_ops"}
    indexes = [sa.Index("by_vector", "vector", postgresql_using=method, postgresql_ops=ops)]
    half = sa.cast(sa.literal_column("vector"), HALFVEC(8)).label("half")
    indexes.append(sa.Index("by_half", half, postgresql_using=method, postgresql_ops=ops))
    columns = (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("rare", sa.Boolean, nullable=False),
        sa.Column("vector", Vector(8), nullable=False),
    )
    return sa.Table("films", sa.MetaData(), *columns, *indexes)


def build_films(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    chance = random.Random(7)
    yield [{"id": n, "rare": n % 40 == 0, "vector": [chance.random() for _ in range(8)]} for n in range(4000)]


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_a_vector_search_uses_its_index_and_returns_limit_rows_under_a_filter(
    releases: Releases, method: str
) -> None:
    releases.lock("v0.0.1", State(Derived(searched(method=method), builder=BUILDER)))
    releases.prepare("v0.0.1", {"films": build_films})
    search = "SELECT id FROM films WHERE rare ORDER BY vector <=> '[1,2,3,4,5,6,7,8]' LIMIT 50"
    with releases.connect("v0.0.1") as conn:
        conn.execute("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in conn.execute(f"EXPLAIN {search}"))
        assert "Index Scan using i_" in plan
        assert len(conn.execute(search).fetchall()) == 50
        conn.execute(f"SET {method}.iterative_scan = off")
        assert len(conn.execute(search).fetchall()) < 50
    assert faults(releases, "v0.0.1") == []


def test_a_release_whose_search_would_not_use_its_index_is_not_cut(releases: Releases) -> None:
    lock = releases.lock("v0.0.1", State(Derived(searched(), builder=BUILDER)))
    binding = releases.bind("v0.0.1")
    found = releases.build("v0.0.1", "films", build_films)
    admin = releases.environment.admin.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("SET search_path = store, sdk_ext")
        conn.execute(f"DROP INDEX i_{found.fingerprint}_1")
        conn.execute(
            f"CREATE INDEX i_{found.fingerprint}_1 ON {found.physical} USING hnsw (vector vector_ip_ops)"
        )
    with pytest.raises(
        PolicyError, match=r"would not use its index:\n  by_vector of films \(vector_cosine_ops\)\n  give"
    ):
        cut.cut(releases.conninfo, lock, binding, derive(MASTER_KEY, binding.role))
    with pytest.raises(PolicyError, match="it is bound"):
        releases.make_live("v0.0.1")
    assert any("by_vector is hnsw by vector_ip_ops" in fault for fault in faults(releases, "v0.0.1"))


def hostile(meta: sa.MetaData, name: str, *more: sa.Column[Any]) -> sa.Table:
    """A table whose key is one of hostile names, with constraints and an index of hostile names."""
    key = [sa.Column(each, sa.Integer, primary_key=True, autoincrement=False) for each in HOSTILE]
    return sa.Table(
        name,
        meta,
        *key,
        sa.Column("order", sa.Text, nullable=False, server_default=sa.text("'100% {} ''x'''")),
        *more,
        sa.Column('id"', sa.BigInteger, sa.Identity()),
        sa.UniqueConstraint("order", "%s", name=f'{name}"; DROP TABLE users; --'),
        sa.CheckConstraint("\"order\" LIKE '%' OR '{}' = '%s'", name=f"{name} 'check' %s"),
        sa.Index(
            f"{name} ünd %(x)s", key[HOSTILE.index("%s")].desc(), postgresql_where=sa.text("\"order\" <> '%'")
        ),
    )


def test_names_of_any_kind_are_built_forked_carried_and_cut(releases: Releases) -> None:
    def declared() -> State:
        meta = sa.MetaData()
        generated = sa.Column("group", sa.Text, sa.Computed("\"order\" || '%s{0}'"))
        forked, child = hostile(meta, "user", generated), hostile(meta, "table")
        child.append_constraint(
            sa.ForeignKeyConstraint(
                HOSTILE, [forked.c[name] for name in HOSTILE], name='a"b%s', ondelete="CASCADE"
            )
        )
        return State(
            Forked(forked),
            Forked(child),
            Shared(hostile(meta, "order")),
            Derived(derived(meta), builder=BUILDER),
        )

    def derived(meta: sa.MetaData) -> sa.Table:
        key = [sa.Column(each, sa.Integer, primary_key=True, autoincrement=False) for each in HOSTILE]
        return sa.Table("select", meta, *key, sa.Index('x"%s{', HOSTILE[0]), sa.UniqueConstraint(HOSTILE[3]))

    def rows(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        yield [dict.fromkeys(HOSTILE, n) for n in range(3)]

    insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM generate_series(1, 5) AS n")
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in HOSTILE)
    numbers = sql.SQL(", ").join(sql.SQL("n") for _ in HOSTILE)
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, declared(), service=service)
    releases.deploy("v0.0.1", {"select": rows})
    with releases.connect("v0.0.1") as a:
        for table in ("user", "table", "order"):
            a.execute(insert.format(sql.Identifier(table), columns, numbers))
        releases.prepare("v0.0.2", {"select": rows})
        a.execute(b"""UPDATE "user" SET "order" = 7 WHERE "%s" = 1""")
        a.execute(b"""DELETE FROM "user" WHERE "%s" = 2""")
    releases.make_live("v0.0.2")
    with releases.connect("v0.0.2") as b:
        seen = b.execute(b'SELECT "%s", "order", "group" FROM "user" ORDER BY 1').fetchall()
        assert [row[0] for row in seen] == [1, 3, 4, 5]
        assert seen[:2] == [(1, "7", "7%s{0}"), (3, "100% {} 'x'", "100% {} 'x'%s{0}")]
        assert b.execute('SELECT count(*) FROM "table"').fetchone() == (4,)
        assert b.execute('SELECT count(*) FROM "select"').fetchone() == (3,)
        assert b.execute('SELECT count(*) FROM "order"').fetchone() == (5,)
    for tag in releases.locks:
        assert faults(releases, tag) == []


def empty(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    yield []


def plain(name: str, meta: sa.MetaData) -> sa.Table:
    return sa.Table(name, meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))


def many(number: int) -> State:
    """So many tables: half of them derived, a quarter forked, a quarter shared."""
    meta = sa.MetaData()
    kinds: tuple[Callable[[sa.Table], Any], ...] = (
        lambda table: Derived(table, builder=BUILDER),
        Forked,
        lambda table: Derived(table, builder=BUILDER),
        Shared,
    )
    return State(*(kinds[n % 4](plain(f"t{n}", meta)) for n in range(number)))


def builders(number: int) -> dict[str, Build]:
    return {f"t{n}": empty for n in range(number)}


def test_a_release_of_empty_tables_and_one_without_tables_go_live_and_back(releases: Releases) -> None:
    releases.lock("v0.0.1", many(4))
    releases.lock("v0.0.2", State())
    releases.deploy("v0.0.1", builders(4))
    releases.deploy("v0.0.2")
    releases.make_live("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        for n in range(4):
            assert conn.execute(f"SELECT count(*) FROM t{n}").fetchone() == (0,)
        conn.execute("INSERT INTO t1 VALUES (1)")
        conn.execute("INSERT INTO t3 VALUES (1)")
    assert faults(releases, "v0.0.1") == []


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that this process sends."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        sent.append(str(query))
        return execute(self, query, *args, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    return sent


def cut_statements(releases: Releases, tag: str, statements: list[str]) -> int:
    """How many statements the cut of a release takes whose tables are built and forked."""
    lock, binding = releases.locks[tag], releases.bind(tag)
    statements.clear()
    cut.cut(releases.conninfo, lock, binding, derive(MASTER_KEY, binding.role))
    return len(statements)


def made(releases: Releases, tag: str, state: State, tables: int) -> None:
    """All of a release but the cut."""
    lock = releases.lock(tag, state, service=f"{tag}:app")
    releases.bind(tag)
    for name, spec in lock.tables.items():
        if spec.kind == "derived":
            releases.build(tag, name, builders(tables)[name])
        if spec.kind == "forked":
            fork.fork(releases.conninfo, "local", lock.digest, name, lease=None)
        if spec.kind == "shared":
            shared.ensure(releases.conninfo, "local", lock, name, lease=None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_release_of_many_tables_is_cut_in_as_many_statements_as_one_of_few(
    releases: Releases, statements: list[str], number: int
) -> None:
    made(releases, "v0.0.1", many(4), 4)
    few = cut_statements(releases, "v0.0.1", statements)
    made(releases, "v0.0.2", many(number), number)
    forks = number // 4 - 1  # a lock each, in the order of names
    assert cut_statements(releases, "v0.0.2", statements) == few + forks
    assert few < 30
    releases.make_live("v0.0.2")
    with releases.connect("v0.0.2") as conn:
        row = conn.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema LIKE 'rel%'"
        ).fetchone()
        assert row == (number,)
    assert faults(releases, "v0.0.2") == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [8, pytest.param(300, marks=pytest.mark.slow)])
def test_a_cut_beside_many_releases_takes_as_many_statements_as_the_first(
    releases: Releases, statements: list[str], number: int
) -> None:
    counts = set()
    for n in range(number):
        made(releases, f"v0.0.{n + 1}", many(4), 4)
        counts.add(cut_statements(releases, f"v0.0.{n + 1}", statements))
    assert len(counts) == 1
    releases.make_live(f"v0.0.{number}")
    with releases.connect(f"v0.0.{number}") as conn:
        conn.execute("INSERT INTO t1 VALUES (1)")


def test_what_was_changed_by_hand_is_named(releases: Releases) -> None:
    meta = sa.MetaData()
    releases.lock("v0.0.1", State(Forked(users(meta)), Shared(interactions(meta))))
    binding = releases.prepare("v0.0.1")
    assert faults(releases, "v0.0.1") == []
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute(f"SET search_path = {binding.pg_schema}, shared")
        for statement in (
            "ALTER TABLE users ALTER COLUMN count TYPE bigint, ALTER COLUMN liked DROP DEFAULT, ADD COLUMN mine int",
            "ALTER TABLE users ALTER COLUMN count DROP NOT NULL, DROP COLUMN profile",
            "ALTER TABLE users ADD CONSTRAINT positive CHECK (count > 0)",
            "ALTER TABLE users DISABLE TRIGGER mlops_capture_update",
            "DROP VIEW interactions",
        ):
            conn.execute(statement.encode())
        (index,) = conn.execute(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
            " WHERE indrelid = 'shared.interactions'::regclass AND relname LIKE 'ix%'"
        ).fetchone() or ("",)
        conn.execute(f"DROP INDEX {index}".encode())
    listed = "\n".join(faults(releases, "v0.0.1"))
    for sentence in (
        "users: column count has type bigint, declared is integer",
        "users: column count is nullable, declared otherwise",
        "users: column liked has no default, declared otherwise",
        "users: column profile is not there",
        "users: column mine is not declared",
        "users: other constraints than declared: +positive",
        "users: trigger mlops_capture_update is not there or not always enabled",
        "interactions: the view is not there",
        "shared.interactions: index interactions_user is not there",
    ):
        assert sentence in listed


def test_a_release_copies_into_a_shared_table_but_not_into_its_hidden_columns(releases: Releases) -> None:
    releases.lock("v0.0.1", State(Shared(interactions(sa.MetaData()))))
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        with conn.cursor().copy("COPY shared.interactions (user_id, film_id) FROM STDIN") as copy:
            copy.write_row((1, 2))
        assert conn.execute("SELECT user_id, film_id FROM interactions").fetchone() == (1, 2)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("INSERT INTO shared.interactions (user_id, film_id, mlops_xid) VALUES (1, 2, '3')")


def test_a_constraint_that_a_live_row_breaks_is_named_when_the_table_is_forked(releases: Releases) -> None:
    def checked(*constraints: sa.Constraint) -> State:
        columns = (sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer, nullable=False))
        return State(Forked(sa.Table("scores", sa.MetaData(), *columns, *constraints)))

    releases.lock("v0.0.1", checked())
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        conn.execute("INSERT INTO scores VALUES (1, 5), (2, 5)")
    for tag, constraint in (
        ("v0.0.2", sa.CheckConstraint("n < 5", name="small")),
        ("v0.0.3", sa.UniqueConstraint("n", name="each")),
    ):
        releases.lock(tag, checked(constraint))
        with pytest.raises(PolicyError, match=rf"cannot hold a row of the live release: .*{constraint.name}"):
            releases.prepare(tag)
    releases.lock("v0.0.4", checked(sa.CheckConstraint("n < 6", name="small")))
    releases.deploy("v0.0.4")
    with releases.connect("v0.0.4") as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("INSERT INTO scores VALUES (3, 6)")
