"""Names of columns, constraints and indexes: whatever the check allows goes through the server and comes back."""

import psycopg
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from mlops_sdk.release.binding import Binding
from mlops_sdk.release.tables import (
    CheckSpec,
    ColumnSpec,
    IndexColumn,
    IndexSpec,
    TableSpec,
    UniqueSpec,
)
from mlops_sdk.state import ddl
from mlops_sdk.state.drift import drift
from mlops_sdk.state.refusals import refusals
from tests.support.environment import Environment

_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=63)


def table(columns: list[str], names: list[str]) -> TableSpec:
    """A table whose key is all columns, with a unique and a CHECK constraint and an index."""
    return TableSpec(
        name="order",
        kind="forked",
        policy="carry",
        columns=tuple(ColumnSpec(name=name, type="integer") for name in columns),
        primary_key=tuple(columns),
        unique=(UniqueSpec(name=names[0], columns=(columns[0],)),),
        checks=(CheckSpec(name=names[1], expression="'%s{0}' LIKE '%'"),),
        indexes=(
            IndexSpec(
                name=names[2],
                method="btree",
                columns=(IndexColumn(expression=columns[-1], is_column=columns[-1].startswith("(")),),
            ),
        ),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(_NAMES, min_size=1, max_size=6, unique=True),
    names=st.lists(_NAMES, min_size=3, max_size=3, unique=True),
)
@example(columns=['"', "%(x)s", "(a", "{0}", "ä" * 31 + "z"], names=["'", "; DROP SCHEMA mlops", "$$"])
def test_a_name_that_is_not_refused_comes_back_from_the_server_as_it_was(
    environment: Environment, columns: list[str], names: list[str]
) -> None:
    spec = table(columns, names)
    assume(not refusals({spec.name: spec}))
    binding = Binding(
        environment="local",
        digest="sha256:0",
        release="v0.0.1",
        seq=1,
        pg_schema="rel_x",
        role="rel_x",
        service_port=1,
    )
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("DROP SCHEMA IF EXISTS rel_x CASCADE; CREATE SCHEMA rel_x")
        for statement in (
            ddl.create_table("rel_x", spec.name, spec),
            ddl.add_primary_key("rel_x", spec.name, f"{spec.name}_pkey", spec.primary_key),
            ddl.add_unique("rel_x", spec.name, spec.unique[0], deferrable=True),
            ddl.create_index("rel_x", spec.name, spec.indexes[0].name, spec.indexes[0]),
            ddl.create_view("rel_x", "view", columns, ("rel_x", spec.name)),
        ):
            conn.execute(statement)
        found = conn.execute(
            sql.SQL("SELECT {} FROM {}").format(ddl.names(columns), sql.Identifier("rel_x", "view"))
        )
        assert [column.name for column in found.description or ()] == columns
        # Only the triggers are missing, which this test has not made.
        assert all("trigger mlops_capture" in line for line in drift(conn, binding, {spec.name: spec}))
