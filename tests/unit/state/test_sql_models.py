"""What a table by a model in SQL may declare, and what a table that jobs in SQL fill may."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlops_sdk.errors import InputError
from mlops_sdk.state import Derived, Entity, Forked, Source, SqlModel, State
from mlops_sdk.state.describe import describe_state
from mlops_sdk.state.fingerprint import explain
from mlops_sdk.state.marks import marks_of
from tests.support.locks import make_lock

SOURCE = Source("shop", "SELECT 1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a builder in Python and a project whose model `sums` reads `raw`."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def raw(context):\n    yield []\n")
    models = tmp_path / "app" / "dbt" / "models"
    models.mkdir(parents=True)
    (tmp_path / "app" / "dbt" / "dbt_project.yml").write_text("name: shop\n")
    (models / "sums.sql").write_text("select {{ var('n') }} as id from {{ source('release', 'raw') }}")
    return tmp_path


def table(meta: sa.MetaData, name: str) -> sa.Table:
    return sa.Table(name, meta, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))


def state(builder: SqlModel, **options: Any) -> State:
    meta = sa.MetaData()
    given = {"tables": ("raw",), "parameters": ("n",), **options}
    return State(
        Derived(table(meta, "raw"), builder="app.build:raw"),
        Derived(table(meta, "sums"), builder=builder, **given),
    )


def test_a_model_stands_in_the_fingerprint_by_its_sql_and_the_versions_of_dbt(root: Path) -> None:
    def inputs() -> dict[str, Any]:
        tables = describe_state(state(SqlModel("app/dbt")), root)
        return explain(make_lock("v0.0.1", tables=tuple(tables.values()), parameters={"n": 1}), {})["sums"]

    before = inputs()
    assert (before["builder"]["entry"], before["builder"]["language"]) == ("app/dbt:sums", "sql")
    assert sorted(before["builder"]["requirements"]) == ["dbt-adapters", "dbt-core", "dbt-postgres"]
    model = root / "app" / "dbt" / "models" / "sums.sql"
    model.write_text(model.read_text() + " limit 1")
    assert {key for key, value in inputs().items() if value != before[key]} == {"builder"}


@pytest.mark.parametrize(
    ("builder", "options", "sentence"),
    [
        (SqlModel("app/dbt"), {"tables": ()}, "reads raw, which its table does not declare"),
        (SqlModel("app/dbt"), {"parameters": ()}, "uses variable n, which its table does not declare"),
        (SqlModel("app/dbt"), {"models": ("ranker",)}, "is SQL, which can use no models"),
        (SqlModel("app/dbt"), {"sources": (SOURCE,)}, "is SQL, which can use no sources"),
        (SqlModel("app/dbt", "nowhere"), {}, "there is no model nowhere"),
        (SqlModel("app"), {}, "no dbt project"),
        (SqlModel("../dbt"), {}, "is not in the checkout"),
    ],
)
def test_a_model_that_reads_more_than_is_declared_is_refused(
    root: Path, builder: SqlModel, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        describe_state(state(builder, **options), root)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dated": "nowhere"}, "is no column of type date"),
        ({"dated": "id"}, "is no column of type date"),
        ({"dated": "other"}, "is not in its key"),
        ({"policy": "carry"}, "use policy discard or Rederive"),
        ({"policy": "carry", "writer": Entity("id")}, "use writer current"),
    ],
)
def test_a_dated_table_has_its_date_in_the_key_and_rows_that_follow_from_the_release(
    root: Path, options: dict[str, Any], sentence: str
) -> None:
    daily = sa.Table(
        "daily",
        sa.MetaData(),
        sa.Column("run_date", sa.Date, primary_key=True),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("other", sa.Date, nullable=False),
    )
    given: dict[str, Any] = {"policy": "discard", "dated": "run_date", **options}
    with pytest.raises(InputError, match=sentence):
        describe_state(State(Forked(daily, **given)), root)


def test_marks_of_a_dated_table_are_not_dated_themselves(root: Path) -> None:
    meta = sa.MetaData()
    daily = sa.Table("daily", meta, sa.Column("run_date", sa.Date, primary_key=True))
    effects = Forked(daily, policy="discard", dated="run_date")
    specs = describe_state(State(effects, marks_of(effects)), root)
    assert (specs["daily"].dated, specs["daily_marks"].dated) == ("run_date", None)
