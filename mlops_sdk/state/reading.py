"""Reading the tables of a kept release, live or not, as role `sdk_reader`, which can write nothing.

Its rights on a release are given when somebody looks at that release for the first time. It must not act as
the release's own role, which may write.
"""

from dataclasses import dataclass

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, control_transaction, retry
from mlops_sdk.ledger.database import connect as connect_database
from mlops_sdk.ledger.entries import from_body
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.ledger.store import Ledger, lock_pointer
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import OperatorSettings
from mlops_sdk.state.queries import query

READER = "sdk_reader"


@dataclass(frozen=True)
class Reading:
    """Where a release can be read: host, port, database, and `options` that make libpq sessions find its tables."""

    release: str
    pg_schema: str
    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    options: str


def open_reading(conninfo: SecretStr, master_key: SecretStr, environment: str, name: str) -> Reading:
    """Let the reader read release `name`: a tag, a digest or an address; empty is the live one.

    `conninfo` is that of role `sdk`. Raises NotFoundError for a release that is not there, or no more: then
    with who retired it and when. PolicyError for one that was never cut.
    """
    ledger = Ledger(conninfo, environment)
    digest = named_digest(ledger, name or environment)
    with connect_database(conninfo, "mlops reading") as conn:
        binding = require_binding(conn, environment, digest)
        _require_tables(conn, binding)
        if not _may_read(conn, binding):
            retry(lambda: _grant(conn, binding))
        info = conn.info
        return Reading(
            release=binding.release,
            pg_schema=binding.pg_schema,
            host=info.host,
            port=info.port,
            database=info.dbname,
            user=READER,
            password=derive(master_key, READER),
            options=f"-c search_path={binding.pg_schema},sdk_ext,pg_temp -c default_transaction_read_only=on",
        )


def connect(release: str = "", *, environment: str = "local", project: Project | None = None) -> Connection:
    """A read-only connection whose unqualified names are the tables of a kept release.

    `release` is a tag, a digest or an address such as `local@{2.hours.ago}`; empty is the live one. In
    autocommit mode: `with conn.transaction()` reads several tables as of one moment. Raises as `open_reading`.
    """
    project = project or load_project()
    project.check_environment(environment)
    operator = OperatorSettings.load(project.environment_folder(environment), "operator")
    return connect_to(open_reading(operator.operator_url, operator.master_key, environment, release))


def connect_to(reading: Reading) -> Connection:
    """A connection to what `open_reading` has opened."""
    from psycopg.conninfo import make_conninfo

    conninfo = make_conninfo(
        host=reading.host,
        port=reading.port,
        dbname=reading.database,
        user=reading.user,
        password=reading.password.get_secret_value(),
        options=reading.options,
    )
    return connect_database(SecretStr(conninfo), f"mlops read {reading.release}")


def _require_tables(conn: Connection, binding: Binding) -> None:
    row = conn.execute(
        "SELECT b.status, to_regnamespace(quote_ident(b.pg_schema)) IS NOT NULL,"
        " (SELECT e.body FROM mlops.entry AS e WHERE e.env = b.env AND e.digest = b.digest"
        "   AND e.kind = 'retired' ORDER BY e.n DESC LIMIT 1)"
        " FROM mlops.binding AS b WHERE b.env = %s AND b.digest = %s",
        [binding.environment, binding.digest],
    ).fetchone()
    assert row is not None  # bound
    status, there, retired = row
    again = f"`mlops deploy stacks/releases/{binding.release}.yaml -e {binding.environment}` makes them"
    if status == "retired" and retired is not None:
        entry = from_body(retired)
        raise NotFoundError(
            f"release {binding.release} was retired by {entry.actor or 'somebody'}"
            f" at {entry.at:%Y-%m-%d %H:%M:%S} UTC: its tables are gone",
            where=f"{binding.environment}#{entry.n}",
            remedy=f"{again} again",
        )
    if not there:
        raise PolicyError(
            f"release {binding.release} has no tables yet: it was bound, but never cut",
            where=binding.environment,
            remedy=again,
        )


def _may_read(conn: Connection, binding: Binding) -> bool:
    row = conn.execute(
        query("reading", "may_read"), {"reader": READER, "schema": binding.pg_schema}
    ).fetchone()
    return bool(row and row[0])


def _grant(conn: Connection, binding: Binding) -> None:
    """Under the locks of cut and cutover, which grant on the same objects."""
    schema, reader = sql.Identifier(binding.pg_schema), sql.Identifier(READER)
    with control_transaction(conn, None):
        lock_pointer(conn, binding.environment)
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('mlops cut'))")
        conn.execute("SET LOCAL ROLE sdk_owner")
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, reader))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, reader))
