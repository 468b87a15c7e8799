"""Whether rows of two declarations of a forked table can be carried in both directions. Pure."""

from collections.abc import Iterator

from mlops_sdk.release.tables import ColumnSpec, TableSpec


def incompatibilities(one: TableSpec, other: TableSpec) -> list[str]:
    """Why rows cannot be carried from one to the other and back; empty when they can."""
    return list(_faults(one, other))


def common_columns(source: TableSpec, target: TableSpec) -> list[str]:
    """The columns that a carry copies: in both, generated in neither."""
    there = {column.name for column in source.columns}
    return [c.name for c in target.columns if c.name in there and c.generated is None]


def differ_on_the_way(source: TableSpec, between: TableSpec, target: TableSpec) -> list[str]:
    """The columns of `target` to which a row from `source` does something else when it goes by `between`.

    One that `between` lacks does not arrive. One that `source` lacks is overwritten with what `between` has in it.
    """
    straight, last = set(common_columns(source, target)), set(common_columns(between, target))
    arrives = set(common_columns(source, between)) & last
    return [
        column.name
        for column in target.columns
        if column.name in (straight - arrives) | (last - straight) and column.name not in target.primary_key
    ]


def _faults(one: TableSpec, other: TableSpec) -> Iterator[str]:
    if one.primary_key != other.primary_key:
        yield f"the key differs: {', '.join(one.primary_key)} and {', '.join(other.primary_key)}"
    if (one.policy or "carry") != (other.policy or "carry"):
        yield f"the policy differs: {one.policy} and {other.policy}; a table's policy is one for all releases"
    if one.writer != other.writer:
        yield f"the writer differs: {one.writer} and {other.writer}; a table's writer is one for all releases"
    columns = ({c.name: c for c in one.columns}, {c.name: c for c in other.columns})
    for name in sorted(columns[0].keys() & columns[1].keys()):
        first, second = columns[0][name], columns[1][name]
        if first.type != second.type:
            yield f"{name} has type {first.type} in one and {second.type} in the other"
        if first.nullable != second.nullable and first.generated is None and second.generated is None:
            yield f"{name} is nullable in only one"
        if (first.generated is None) != (second.generated is None):
            yield f"{name} is generated in only one"
    for mine, theirs in (columns, columns[::-1]):
        for name in sorted(mine.keys() - theirs.keys()):
            if not _fills_itself(mine[name]):
                yield f"{name} is in only one, and a row carried there has no value for it: give it a default"


def _fills_itself(column: ColumnSpec) -> bool:
    return (
        column.nullable
        or column.default is not None
        or column.identity is not None
        or column.generated is not None
    )
