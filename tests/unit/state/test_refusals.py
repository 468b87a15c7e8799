"""What a declaration may not say: each refusal names the table, what is wrong and what to do."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql as pg

from mlops_sdk.errors import InputError
from mlops_sdk.state import Derived, Entity, Forked, Rederive, Shared, Source, State, check
from tests.support.tables import content, interactions, users

BUILDER = "app.build:content"
ROOT = Path("/nonexistent")
Table = Callable[[sa.MetaData], sa.Table]


def key(type_: Any = sa.Integer, *args: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column("a", type_, *args, primary_key=True, **options)


def table(*parts: Any, name: str = "t", meta: sa.MetaData | None = None, **options: Any) -> sa.Table:
    return sa.Table(name, meta or sa.MetaData(), *(parts or (key(),)), **options)


def column(type_: Any, *args: Any, **options: Any) -> sa.Table:
    return table(key(), sa.Column("c", type_, *args, **options))


def searched(opclass: str | None, *, dimensions: int | None = 3) -> sa.Table:
    ops = {"v": opclass} if opclass else {}
    index = sa.Index("i", "v", postgresql_using="hnsw", postgresql_ops=ops)
    return table(key(), sa.Column("v", Vector(dimensions)), index)


def listening(event: str, listener: Any) -> sa.Table:
    found = table()
    sa.event.listen(found, event, listener)
    return found


def pair(
    reference: sa.ForeignKeyConstraint,
    *,
    child: dict[str, Any] | None = None,
    parent: dict[str, Any] | None = None,
) -> State:
    """A parent with a composite key and a secondary unique one, and a child that refers to it."""
    meta = sa.MetaData()
    parent_table = table(
        sa.Column("entity", sa.BigInteger, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("other", sa.Integer, unique=(parent or {}).get("writer") is None),
        name="parent",
        meta=meta,
    )
    child_table = table(
        sa.Column("who", sa.BigInteger, primary_key=True),
        sa.Column("m", sa.Integer, primary_key=True),
        sa.Column("b", sa.Integer),
        reference,
        name="child",
        meta=meta,
    )
    return State(Forked(parent_table, **(parent or {})), Forked(child_table, **(child or {})))


def to_parent(*columns: str, references: tuple[str, ...] = ("entity", "n"), **options: Any) -> Any:
    targets = [f"parent.{name}" for name in references]
    return sa.ForeignKeyConstraint(columns or ("who", "m"), targets, name="fk", **options)


def circle() -> State:
    meta = sa.MetaData()
    one = table(key(), sa.Column("b", sa.Integer, sa.ForeignKey("two.a")), name="one", meta=meta)
    two = table(key(), sa.Column("b", sa.Integer, sa.ForeignKey("one.a")), name="two", meta=meta)
    return State(Forked(one), Forked(two))


def replaying(statement: str, source: str = "interactions") -> State:
    meta = sa.MetaData()
    return State(Shared(interactions(meta)), Forked(users(meta), policy=Rederive(source, statement)))


def twice_an_index() -> State:
    meta = sa.MetaData()
    tables = [table(key(), sa.Index("same", "a"), name=name, meta=meta) for name in ("one", "two")]
    return State(*(Forked(found) for found in tables))


ENTITY = {"writer": Entity("entity")}
WHO = {"writer": Entity("who")}
REFUSED: list[tuple[str, Any]] = [
    # keys
    ("t: has no primary key; declare one", Shared(table(sa.Column("a", sa.Integer)))),
    ("t: key a has type double precision; use one of", Forked(table(key(sa.Float)))),
    ("t: key a has type real", Forked(table(key(sa.Float(24))))),
    ("t: key a has type jsonb", Shared(table(key(pg.JSONB)))),
    ("t: key a has type integer[]", Shared(table(key(pg.ARRAY(sa.Integer))))),
    ("t: key a is nullable; make it NOT NULL", Forked(table(key(nullable=True)))),
    ("t: key a is generated", Forked(table(key(sa.Integer, sa.Computed("1"))))),
    ("t.a: a collation is not supported yet", Forked(table(key(sa.Text(collation="und-x-icu"))))),
    (
        "t: the key has 32 columns; use at most 31",
        Forked(table(*(sa.Column(f"c{n}", sa.Integer, primary_key=True) for n in range(32)))),
    ),
    # columns
    ("t.c: a collation is not supported yet", Shared(column(sa.Text(collation="C")))),
    ("t.c: a native enum is not supported; use Text", Shared(column(sa.Enum("a", "b", name="ab")))),
    ("t: c has type oid, which is not one that every release", Forked(column(pg.OID))),
    ("t: c has type regclass", Forked(column(pg.REGCLASS))),
    ("t: c has type money", Forked(column(pg.MONEY))),
    ("t: c has type hstore", Forked(column(pg.HSTORE))),
    ("t.a: SERIAL is not supported; declare Identity()", Shared(table(key(autoincrement=True)))),
    ("t.c: has a sequence of its own", Forked(column(sa.Integer, sa.Sequence("s")))),
    (
        "t: c draws from a sequence of its own; declare Identity()",
        Forked(column(sa.Integer, server_default=sa.text("nextval('s')"))),
    ),
    ("t.c: options of an identity are not supported", Forked(column(sa.Integer, sa.Identity(start=7)))),
    ("t.c: FetchedValue stands for a trigger", Forked(column(sa.Integer, server_default=sa.FetchedValue()))),
    ("t.c: a virtual generated column", Forked(column(sa.Integer, sa.Computed("a", persisted=False)))),
    ("t: column xmin has the name of a system column", Forked(table(key(), sa.Column("xmin", sa.Integer)))),
    # names
    ("Films: the name is not [a-z]", Shared(table(name="Films"))),
    ("the name is not [a-z][a-z0-9_]* of at most 40 bytes", Shared(table(name="t" * 41))),
    ("seq_x: names that start with seq_ or mlops_ are reserved", Shared(table(name="seq_x"))),
    (
        "mlops_x: names that start with mlops_ are reserved",
        Shared(table(key(), sa.Column("mlops_x", sa.Text))),
    ),
    ("is not text of 1 to 63 bytes; rename it", Shared(table(key(), sa.Column("ä" * 32, sa.Text)))),
    ("'a\\x00b' is not text", Shared(table(key(), sa.Column("a\0b", sa.Text)))),
    (
        "t: two constraints are named c",
        Forked(table(key(), *(sa.CheckConstraint(f"a > {n}", "c") for n in (1, 2)))),
    ),
    ("same: two tables, indexes or unique constraints", twice_an_index()),
    # tables
    ("t: has a pg_schema of its own", Shared(table(schema="s"))),
    ("t: is partitioned or inherited", Forked(table(postgresql_partition_by="RANGE (a)"))),
    ("t: is partitioned or inherited", Forked(table(postgresql_inherits="other"))),
    ("t: has option postgresql_tablespace", Forked(table(postgresql_tablespace="fast"))),
    ("t: is TEMPORARY or UNLOGGED", Forked(table(prefixes=["UNLOGGED"]))),
    (
        "t: has DDL that listens to its creation (row security",
        Forked(listening("after_create", sa.DDL("ALTER TABLE t ENABLE ROW LEVEL SECURITY"))),
    ),
    ("t: has DDL that listens", Forked(listening("before_create", print))),
    ("t: declared twice", State(Shared(table()), Shared(table()))),
    # constraints and indexes
    ("is a ExcludeConstraint: not supported", Forked(table(key(), pg.ExcludeConstraint(("a", "="))))),
    ("says when it is checked", Forked(table(key(), sa.UniqueConstraint("a", initially="DEFERRED")))),
    (
        "has option postgresql_nulls_not_distinct",
        Forked(table(key(), sa.UniqueConstraint("a", postgresql_nulls_not_distinct=True))),
    ),
    ("has option postgresql_include", Forked(table(key(), sa.Index("i", "a", postgresql_include=["a"])))),
    ("index ux is unique", Forked(table(key(), sa.Index("ux", "a", unique=True)))),
    ("index i has method rum; use btree", Shared(table(key(), sa.Index("i", "a", postgresql_using="rum")))),
    ("index i has no operator class; give one", Shared(searched(None))),
    ("index i has operator class int4_ops; use one of pgvector's", Shared(searched("int4_ops"))),
    (
        "has operator class halfvec_l2_ops for a vector(3); use vector_l2_ops",
        Shared(searched("halfvec_l2_ops")),
    ),
    ("index i is of a vector without dimensions", Shared(searched("vector_l2_ops", dimensions=None))),
    # derived and shared
    (
        "content: the builder 'elsewhere:f' is not in the checkout",
        Derived(content(sa.MetaData()), builder="elsewhere:f"),
    ),
    ("is built from users, which is not declared", Derived(table(), builder=BUILDER, tables=("users",))),
    (
        "is built from t2, a shared table: not supported yet",
        State(Derived(table(), builder=BUILDER, tables=("t2",)), Shared(table(name="t2"))),
    ),
    ("t: is built from itself; break the circle", Derived(table(), builder=BUILDER, tables=("t",))),
    (
        "names source films twice",
        Derived(table(), builder=BUILDER, sources=[Source("films", "SELECT 1"), Source("films", "SELECT 2")]),
    ),
    ("retention is negative", Derived(table(), builder=BUILDER, retention=timedelta(-1))),
    ("a is an identity; a built table", Derived(table(key(sa.Integer, sa.Identity())), builder=BUILDER)),
    ("t: c is generated: not supported in shared", Shared(column(sa.Integer, sa.Computed("a")))),
    # references
    (
        "foreign key fk points to derived, a derived table",
        State(
            Derived(table(name="derived", meta=(meta := sa.MetaData())), builder=BUILDER),
            Forked(table(key(), sa.ForeignKeyConstraint(["a"], ["derived.a"], name="fk"), meta=meta)),
        ),
    ),
    (
        "s: foreign key fk: only forked tables may refer to each other",
        Shared(table(key(), sa.ForeignKeyConstraint(["a"], ["s.a"], name="fk"), name="s")),
    ),
    (
        "foreign key fk points to gone, which is not declared",
        Forked(
            [
                table(
                    key(),
                    sa.ForeignKeyConstraint(["a"], ["gone.a"], name="fk"),
                    meta=(other := sa.MetaData()),
                ),
                table(name="gone", meta=other),
            ][0]
        ),
    ),
    ("foreign keys form a circle", circle()),
    ("points to columns that are not the primary key of parent", pair(to_parent("b", references=("other",)))),
    ("foreign key fk has ON DELETE SET DEFAULT", pair(to_parent(ondelete="SET DEFAULT"))),
    (
        "foreign key fk has ON DELETE SET NULL on a column that is NOT NULL",
        pair(to_parent(ondelete="set null")),
    ),
    ("foreign key fk has MATCH", pair(to_parent(match="FULL"))),
    # policies
    ("users: policy 'keep' is not one", Forked(users(sa.MetaData()), policy="keep")),  # type: ignore[arg-type]
    (
        "child: its policy is discard, that of parent, which it",
        pair(to_parent(), child={"policy": "discard"}),
    ),
    ("users: replays visits, which is no shared table", replaying("INSERT INTO x TABLE replayed", "visits")),
    ("users: replays users, which is no shared table", replaying("INSERT INTO x TABLE replayed", "users")),
    ("users: has an empty replay statement", replaying(" ; -- nothing")),
    (
        "users: has several replay statements",
        replaying("DELETE FROM users; INSERT INTO users TABLE replayed"),
    ),
    ("that does not read `replayed`", replaying("INSERT INTO users SELECT 'replayed'")),
    ("begins with SELECT", replaying("SELECT * FROM replayed")),
    # writers
    ("users: writer 'user_id' is not one", Forked(users(sa.MetaData()), writer="user_id")),  # type: ignore[arg-type]
    (
        "writer Entity('count'): the column is not in the primary key",
        Forked(users(sa.MetaData()), writer=Entity("count")),
    ),
    ("entity column a has type date; use one of", Forked(table(key(sa.Date)), writer=Entity("a"))),
    ("needs policy carry, not discard", Forked(table(), policy="discard", writer=Entity("a"))),
    (
        "unique constraint u lacks entity column a",
        Forked(
            table(key(), sa.Column("b", sa.Integer), sa.UniqueConstraint("b", name="u")), writer=Entity("a")
        ),
    ),
    ("child: its writer is current, that of parent entity:entity", pair(to_parent(), parent=ENTITY)),
    (
        "and an entity's column in the foreign key",
        pair(to_parent("who", "m", references=("n", "entity")), parent=ENTITY, child=WHO),
    ),
]


@pytest.mark.parametrize(("sentence", "declared"), REFUSED, ids=[sentence for sentence, _ in REFUSED])
def test_what_the_store_cannot_keep_right_is_refused(sentence: str, declared: Any) -> None:
    with pytest.raises(InputError) as refused:
        check(declared if isinstance(declared, State) else State(declared), ROOT)
    assert sentence in str(refused.value)
    faults = str(refused.value).splitlines()
    assert all(": " in fault and ";" in fault for fault in faults), "table, fault; remedy"


def self_reference(**options: Any) -> sa.Table:
    return table(
        key(),
        sa.Column("up", sa.Integer, sa.ForeignKey("t.a", **options)),
        sa.Column("big", sa.Boolean(create_constraint=True)),
        sa.Column("word", sa.Enum("x", "y", native_enum=False, create_constraint=True, name="w")),
    )


ALLOWED = {
    "a reference to the table itself": Forked(self_reference()),
    "actions": Forked(self_reference(ondelete="CASCADE", onupdate="SET NULL")),
    "a composite key that others refer to in another order": pair(
        to_parent("m", "who", references=("n", "entity"), ondelete="RESTRICT", onupdate="NO ACTION")
    ),
    "entity writers along a reference": pair(to_parent(), parent=ENTITY, child=WHO),
    "the discard of a group": pair(to_parent(), parent={"policy": "discard"}, child={"policy": "discard"}),
    "a statement with quoted semicolons": replaying(
        "WITH r AS (SELECT user_id, ';' FROM replayed /* ; */) INSERT INTO users SELECT * FROM r; -- ;"
    ),
    "reserved words and quotes in names": Forked(
        table(key(), sa.Column('select"; --', sa.Text), sa.CheckConstraint("a > 0", name="a'b"), name="order")
    ),
    "types with sizes": Shared(
        table(
            key(sa.Numeric(10)),
            sa.Column("b", sa.String(7)),
            sa.Column("c", pg.TIMESTAMP(precision=3, timezone=True)),
            sa.Column("d", pg.ARRAY(sa.CHAR(2), dimensions=2)),
        )
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_store_can_keep_is_not_refused(name: str) -> None:
    declared = ALLOWED[name]
    check(declared if isinstance(declared, State) else State(declared), ROOT)


def test_all_faults_are_listed_at_once() -> None:
    meta = sa.MetaData()
    state = State(
        Forked(users(meta), writer=Entity("x")),
        Derived(content(meta), builder=BUILDER, tables=("x",)),
        Shared(table(sa.Column("a", sa.Float), meta=meta, postgresql_tablespace="s")),
    )
    with pytest.raises(InputError) as refused:
        check(state, ROOT)
    assert len(str(refused.value).splitlines()) == 5
