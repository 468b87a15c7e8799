"""Approximate searches: whether a release's vector indexes are used, asked as the release itself.

A wrong operator class, a view that hides the index or an invalid index cost no error, only time and rows; so the
server is asked for its plan. It must not change anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.release.tables import IndexSpec, TableSpec
from mlops_sdk.state import ann_index, ddl

# Without these a search with a filter looks at a fixed number of neighbours, and silently returns fewer rows.
_SETTINGS = {"hnsw.iterative_scan": "strict_order", "ivfflat.iterative_scan": "relaxed_order"}
_LIMIT = 10


@dataclass(frozen=True)
class Search:
    """One approximate search of `table` that is to use `index`; `type_` is the type of what is compared."""

    table: TableSpec
    index: IndexSpec
    type_: str


def has_searches(tables: Mapping[str, TableSpec]) -> bool:
    """Whether any table has an index for approximate search."""
    return any(ann_index.is_ann(index) for spec in tables.values() for index in spec.indexes)


def settings(conn: Connection) -> dict[str, str]:
    """The settings of a release's role that make a search with a filter go on until it has LIMIT rows.

    Only those that the installed pgvector knows; asking loads its library, which brings them.
    """
    if conn.execute("SELECT to_regtype('sdk_ext.vector')").fetchone() == (None,):
        return {}
    conn.execute("SELECT '[1]'::sdk_ext.vector")
    rows = conn.execute("SELECT name FROM pg_settings WHERE name = ANY(%s)", [list(_SETTINGS)]).fetchall()
    return {name: _SETTINGS[name] for name in sorted(row[0] for row in rows)}


def require_indexes(release: SecretStr, tables: Mapping[str, TableSpec]) -> None:
    """Have the server plan one search an index, with and without a filter, connected as the release's role.

    Raises PolicyError with every index that is not used.
    """
    searches = list(_searches(tables))
    with connect(release, "mlops cut") as conn, conn.transaction():
        # Of a table with few rows a scan is cheaper: ask whether the index could be used at all.
        conn.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
        )
        unused = [one for one in searches if not _is_used(conn, one)]
    if unused:
        listed = "\n".join(
            f"  {one.index.name} of {one.table.name} ({ann_index.opclass(one.index)})" for one in unused
        )
        raise PolicyError(
            f"an approximate search would not use its index:\n{listed}",
            remedy="give the index the operator class of the distance that is asked for, and build it again:"
            " another declaration is another table",
        )


def _searches(tables: Mapping[str, TableSpec]) -> Iterator[Search]:
    for _, spec in sorted(tables.items()):
        for index in spec.indexes:
            if ann_index.is_ann(index):
                yield Search(spec, index, ann_index.compared_type(spec, index))


def _is_used(conn: Connection, search: Search) -> bool:
    statement = sql.SQL(";").join(explain(search, filtered=filtered) for filtered in (False, True))
    cursor = conn.execute(statement)
    plans = [cursor.fetchone()]
    while cursor.nextset():
        plans.append(cursor.fetchone())
    return all(plan is not None and _uses_ann(plan[0][0]["Plan"]) for plan in plans)


def explain(search: Search, *, filtered: bool) -> sql.Composed:
    """EXPLAIN of a search for the nearest rows, if wanted with a condition that no index answers."""
    index, spec = search.index, search.table
    what = index.columns[0].expression
    key = sql.Identifier(spec.primary_key[0])
    conditions = [sql.SQL("({})").format(ddl.raw(index.where))] if index.where else []
    if filtered:
        conditions.append(sql.SQL("hashtext({}::text) % 2 = 0").format(key))
    return sql.SQL("EXPLAIN (FORMAT JSON) SELECT {} FROM {}{} ORDER BY {} {} {}::{} LIMIT {}").format(
        key,
        sql.Identifier(spec.name),
        sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL(""),
        sql.Identifier(what) if ddl.is_column(index.columns[0]) else ddl.raw(what),
        ddl.raw(ann_index.operator(index)),
        sql.Literal(_value(search.type_)),
        ddl.raw(search.type_),
        sql.Literal(_LIMIT),
    )


def _value(type_: str) -> str:
    """Some value of a vector type."""
    base, _, size = type_.rstrip(")").partition("(")
    if base == "sparsevec":
        return f"{{1:1}}/{size}"
    if base == "bit":
        return "1" * int(size)
    return "[" + ",".join(["1"] * int(size)) + "]"


def _uses_ann(plan: dict[str, Any]) -> bool:
    """Whether the plan orders by an index scan, and by that alone: a sort would read the whole table."""
    below = plan.get("Plans", [])
    if plan["Node Type"] == "Index Scan":
        return "Order By" in plan
    if plan["Node Type"] == "Sort":
        return False
    return any(_uses_ann(one) for one in below)
