"""What earlier releases have declared of the tables that outlive a release. It only reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state.forks import specs_of


@dataclass(frozen=True)
class KnownTables:
    """`shared` has all that was ever declared of a table, `forks` the forked tables of releases, by tag."""

    shared: Mapping[str, TableSpec] = field(default_factory=dict)
    forks: Mapping[str, Mapping[str, TableSpec]] = field(default_factory=dict)


def read_known(conn: Connection, environment: str) -> KnownTables:
    """The shared tables, and the forks that stand in the environment."""
    shared = conn.execute("SELECT table_name, spec FROM mlops.shared_table").fetchall()
    rows = conn.execute(
        "SELECT b.release, f.digest, f.table_name FROM mlops.fork AS f JOIN mlops.binding AS b USING (env, digest)"
        " WHERE f.env = %s ORDER BY b.seq, f.table_name",
        [environment],
    ).fetchall()
    forks: dict[str, dict[str, TableSpec]] = {}
    for release, digest, table in rows:
        forks.setdefault(release, {})[table] = specs_of(conn, digest)[table]
    return KnownTables({name: TableSpec.from_document(spec) for name, spec in shared}, forks)
