"""A declaration as data, and what is refused with which sentence."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import IndexColumn
from mlops_sdk.state import Derived, Entity, Forked, Shared, Source, State
from mlops_sdk.state.describe import describe, describe_state
from tests.support.tables import content, interactions, metadata, users

BUILDER = "app.build:content"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one package."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "__init__.py").write_text("")
    (app / "words.py").write_text("import numpy\n")
    (app / "unrelated.py").write_text("")
    (app / "build.py").write_text("from app import words\n\ndef content(context):\n    yield []\n")
    return tmp_path


def test_tables_are_described_by_postgres_names_of_types(root: Path) -> None:
    meta = metadata()
    specs = describe_state(
        State(
            Derived(
                content(meta),
                builder=BUILDER,
                models=("embedder",),
                sources=(Source("films", "SELECT 1"),),
                parameters=("dimensions",),
            ),
            Forked(users(meta)),
            Shared(interactions(meta)),
        ),
        root,
    )
    types = {column.name: column.type for column in specs["users"].columns}
    assert types == {
        "user_id": "bigint",
        "count": "integer",
        "liked": "integer[]",
        "profile": "jsonb",
        "updated_at": "timestamp with time zone",
    }
    assert specs["users"].column("count").default == "'0'"
    assert specs["users"].column("updated_at").default == "clock_timestamp()"
    assert (specs["users"].kind, specs["users"].policy, specs["users"].writer) == (
        "forked",
        "carry",
        "current",
    )
    assert specs["interactions"].column("interaction_id").identity == "always"
    assert specs["content"].column("embedding").type == "vector(4)"
    (index,) = specs["content"].indexes
    assert (index.method, index.options) == ("hnsw", {"m": "16"})
    assert index.columns == (IndexColumn(expression="embedding", opclass="vector_cosine_ops"),)
    assert specs["content"].parameters == {"dimensions": None}


def test_a_builder_has_the_digest_of_what_it_imports(root: Path) -> None:
    def built() -> Any:
        return describe_state(State(Derived(content(metadata()), builder=BUILDER)), root)["content"].builder

    first = built()
    assert "numpy" in first.requirements
    (root / "app" / "unrelated.py").write_text("x = 1\n")
    assert built() == first
    (root / "app" / "words.py").write_text("import numpy\nx = 1\n")
    assert built() != first


def column(type_: Any, **options: Any) -> sa.Table:
    return sa.Table(
        "t", metadata(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("c", type_, **options)
    )


REFUSED = [
    (Shared(sa.Table("t", metadata(), sa.Column("a", sa.Integer))), "no primary key"),
    (Forked(sa.Table("t", metadata(), sa.Column("a", sa.Float, primary_key=True))), "double precision"),
    (
        Forked(users(metadata()), writer=Entity("count")),
        "writer Entity('count'): the column is not in the primary key",
    ),
    (
        Shared(sa.Table("t", metadata(), sa.Column("a", sa.Integer, primary_key=True), schema="s")),
        "pg_schema",
    ),
    (Shared(sa.Table("Films", metadata(), sa.Column("a", sa.Integer, primary_key=True))), "rename it"),
    (Shared(sa.Table("seq_x", metadata(), sa.Column("a", sa.Integer, primary_key=True))), "reserved"),
    (Shared(column(sa.Text(collation="C"))), "a collation is not supported yet"),
    (Shared(column(sa.Enum("a", "b", name="ab"))), "native enum"),
    (
        Shared(sa.Table("t", metadata(), sa.Column("a", sa.Integer, primary_key=True, autoincrement=True))),
        "declare Identity()",
    ),
    (Derived(content(metadata()), builder=BUILDER, tables=("users",)), "not declared"),
    (Derived(content(metadata()), builder="elsewhere:f"), "not in the checkout"),
    (
        Forked(
            sa.Table(
                "t",
                metadata(),
                sa.Column("a", sa.Integer, primary_key=True),
                sa.Column("b", sa.Integer),
                sa.Index("ux", "b", unique=True),
            )
        ),
        "declare a UniqueConstraint",
    ),
]


@pytest.mark.parametrize(("declared", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_the_store_cannot_keep_right_is_refused(root: Path, declared: Any, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        describe_state(State(declared), root)
    assert sentence in str(refused.value)


def test_all_faults_are_listed_at_once(root: Path) -> None:
    meta = metadata()
    state = State(
        Forked(users(meta), writer=Entity("x")), Derived(content(meta), builder=BUILDER, tables=("x",))
    )
    with pytest.raises(InputError) as refused:
        describe_state(state, root)
    assert len(str(refused.value).splitlines()) == 2


def test_a_child_of_the_checkout_describes_a_release(root: Path) -> None:
    (root / "app" / "tables.py").write_text(
        "import sqlalchemy as sa\n"
        "from mlops_sdk.state import Shared, State\n"
        "STATE = State(Shared(sa.Table('t', sa.MetaData(), sa.Column('a', sa.Integer, primary_key=True))))\n"
        "WRONG = 7\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    specs = describe(Path(sys.executable), root, "app.tables:STATE", environ=environ)
    assert specs["t"].primary_key == ("a",)
    with pytest.raises(InputError, match=r"is a int, not a mlops_sdk\.state\.State"):
        describe(Path(sys.executable), root, "app.tables:WRONG", environ=environ)
    with pytest.raises(InputError, match="cannot be imported"):
        describe(Path(sys.executable), root, "app.nothing:STATE", environ=environ)
