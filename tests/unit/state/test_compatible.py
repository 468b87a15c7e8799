"""Which columns can be carried between releases."""

from typing import Any

import pytest

from mlops_sdk.release.tables import ColumnSpec, TableSpec
from mlops_sdk.state.compatible import common_columns, differ_on_the_way, incompatibilities


def column(name: str, type_: str = "integer", **fields: Any) -> ColumnSpec:
    return ColumnSpec(name=name, type=type_, **fields)


def table(*columns: ColumnSpec, key: tuple[str, ...] = ("id",), kind: Any = "forked") -> TableSpec:
    return TableSpec(name="t", kind=kind, columns=(column("id"), *columns), primary_key=key)


@pytest.mark.parametrize(
    "other",
    [
        table(),
        table(column("a", nullable=True)),
        table(column("a", default="0")),
        table(column("a", generated="id + 1")),
    ],
)
def test_columns_that_fill_themselves_are_compatible(other: TableSpec) -> None:
    assert incompatibilities(table(), other) == []
    assert incompatibilities(other, table()) == []


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (table(), table(column("a")), "give it a default"),
        (table(column("a")), table(), "give it a default"),
        (table(column("a")), table(column("a", "text")), "type"),
        (table(column("a")), table(column("a", nullable=True)), "nullable in only one"),
        (table(column("a")), table(column("a", generated="id")), "generated in only one"),
        (table(column("b")), table(column("b"), key=("b",)), "key differs"),
    ],
)
def test_columns_that_cannot_go_both_ways_are_named(one: TableSpec, other: TableSpec, why: str) -> None:
    assert any(why in fault for fault in incompatibilities(one, other))


def test_a_carry_copies_what_both_have_and_neither_computes() -> None:
    one = table(column("a"), column("b", default="0"))
    other = table(column("a"), column("c", nullable=True), column("g", generated="id"))
    assert common_columns(one, other) == ["id", "a"]


def test_a_row_that_goes_by_another_table_differs_where_only_one_of_the_two_has_a_column() -> None:
    with_it, without = table(column("a"), column("b", nullable=True)), table(column("a"))
    assert differ_on_the_way(with_it, without, with_it) == ["b"]  # it does not arrive
    assert differ_on_the_way(without, with_it, with_it) == ["b"]  # it is overwritten with what nobody wrote
    assert differ_on_the_way(with_it, with_it, without) == []
    assert differ_on_the_way(without, without, with_it) == []
    assert differ_on_the_way(with_it, with_it, with_it) == []
