"""What a cutover leaves behind: the rows that a table's policy does not take along, in `mlops.loss`.

Policies `discard` and `rederive`, for a target that was live before. It must not change a fork.
"""

from psycopg import sql

from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.apply import same_key
from mlops_sdk.state.forks import Fork, forget_pending, log_name, pending_name
from mlops_sdk.state.queries import query


def record(conn: Connection, pairs: list[tuple[Fork, Fork]], entry: Entry, actor: str) -> None:
    """Write the rows of each (fork that is left, target) that the target has otherwise.

    A release that leaves any is pinned, and the target's waiting keys are struck off.
    """
    pinned = set()
    for leaving, target in pairs:
        rows = conn.execute(
            query("discard", "record").format(
                env=sql.Literal(entry.environment),
                table=sql.Literal(target.table),
                n=sql.Literal(entry.n),
                left_digest=sql.Literal(leaving.digest),
                to_digest=sql.Literal(target.digest),
                differing=differing(leaving, target, keys(target)),
            )
        ).rowcount
        forget_pending(conn, target)
        if rows:
            pinned.add(leaving.digest)
    for digest in sorted(pinned):
        conn.execute(query("discard", "pin"), [entry.environment, digest, actor])


def keys(target: Fork, *, logged: bool = False) -> sql.Composed:
    """A relation of the keys written since the target was live, those still in the log too if `logged`."""
    return query("discard", "pending_or_logged" if logged else "pending").format(
        key=ddl.names(target.spec.primary_key),
        pending=pending_name(target.table),
        log=log_name(target.table),
        target=sql.Literal(target.id),
        round=sql.Literal(target.round),
    )


def differing(leaving: Fork, target: Fork, of: sql.Composable) -> sql.Composed:
    """A relation (key, row) of those keys of `of` whose row the target has otherwise or not at all. Pure."""
    here = {column.name for column in leaving.spec.columns}
    only_target = [column.name for column in target.spec.columns if column.name not in here]
    return query("discard", "differing").format(
        key_object=key_object(target.spec, "k"),
        keys=of,
        left=leaving.name,
        fork=target.name,
        s_is_k=same_key(target, "s", "k"),
        t_is_k=same_key(target, "t", "k"),
        only_target=sql.Literal(only_target),
    )


def key_object(spec: TableSpec, relation: str) -> sql.Composed:
    """A key as a JSON object of its columns."""
    pairs = sql.SQL(", ").join(
        sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(relation, name))
        for name in spec.primary_key
    )
    return sql.SQL("jsonb_build_object({})").format(pairs)
