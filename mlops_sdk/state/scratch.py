"""Where jobs in SQL write: a schema beside the release's own, and a role that owns what is in it and nothing else.

The release's role is a member: it becomes the other one for a job, and reads what the job made. Made with the cut,
dropped by the janitor. It must not run a job.
"""

from collections.abc import Iterator

from psycopg import sql

from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.binding import Binding, scratch_name


def make_scratch(conn: Connection, binding: Binding) -> Iterator[sql.Composable]:
    """What makes schema and role of a release that has its tables; nothing if they are there."""
    name = scratch_name(binding.pg_schema)
    scratch, schema, release = (sql.Identifier(n) for n in (name, binding.pg_schema, binding.role))
    if not conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).rowcount:
        yield sql.SQL("CREATE ROLE {} NOLOGIN").format(scratch)
        # To drop what it owns; never to act as it.
        options = " WITH INHERIT TRUE, SET FALSE" if conn.info.server_version >= 160000 else ""
        yield sql.SQL("GRANT {} TO sdk" + options).format(scratch)
        yield sql.SQL("GRANT {} TO {}").format(scratch, release)
    yield sql.SQL("SET LOCAL ROLE sdk_owner")
    yield sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(scratch)
    yield sql.SQL("GRANT USAGE, CREATE ON SCHEMA {0} TO {0}").format(scratch)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, scratch)
    yield sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, scratch)
    yield sql.SQL("RESET ROLE")


def drop_scratch(conn: Connection, binding: Binding) -> None:
    """Drop role and schema with what jobs left there; nothing if they are not there. In a transaction."""
    name = scratch_name(binding.pg_schema)
    scratch = sql.Identifier(name)
    found = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).rowcount
    if found:
        conn.execute(sql.SQL("DROP OWNED BY {} RESTRICT").format(scratch))
    conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(scratch))
    if found:
        conn.execute(sql.SQL("DROP ROLE {}").format(scratch))
