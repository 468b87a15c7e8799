"""What is in the database of a history, in the words of the model. It only reads, as a superuser."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from mlops_sdk.ledger.entries import from_body, verify_chain
from mlops_sdk.release.binding import Binding
from mlops_sdk.state.fork import staging_schema
from tests.support.machine.declared import decode, encode_key
from tests.support.machine.model import Lost, Row
from tests.support.machine.tables import Declaration, Key, Shape

Contents = dict[tuple[str, str], dict[Key, Row]]

_MAY_WRITE = """
SELECT b.release, f.table_name
  FROM mlops.fork AS f JOIN mlops.binding AS b USING (env, digest)
 WHERE to_regrole(quote_ident(b.role)) IS NOT NULL
   AND has_table_privilege(b.role, format('%I.%I', f.pg_schema, f.table_name), 'INSERT, UPDATE, DELETE, TRUNCATE')
"""


class Observed:
    """The facts of one history. `bindings` are those of the driver, by tag."""

    def __init__(self, admin: psycopg.Connection[Any], bindings: dict[str, Binding]) -> None:
        self._admin, self._bindings = admin, bindings
        self.shape = Shape()

    def live(self) -> list[str]:
        """The tags that became live, in order, by a ledger whose hashes hold and which the pointer agrees with."""
        rows = self._admin.execute("SELECT body FROM mlops.entry ORDER BY n").fetchall()
        entries = [from_body(row[0]) for row in rows]
        verify_chain(entries)
        tags = {binding.digest: tag for tag, binding in self._bindings.items()}
        found = [entry for entry in entries if entry.kind == "live"]
        (pointer,) = self._admin.execute("SELECT digest, epoch, entry FROM mlops.pointer").fetchall()
        last = (found[-1].digest, len(found), found[-1].n) if found else (None, 0, None)
        assert pointer == last
        return [tags[str(entry.digest)] for entry in found]

    def statuses(self) -> dict[str, str]:
        """The status of each release."""
        return dict(self._admin.execute("SELECT release, status FROM mlops.binding").fetchall())

    def may_write(self) -> set[tuple[str, str]]:
        """The forks that their own release's role may change."""
        return set(self._admin.execute(_MAY_WRITE).fetchall())

    def contents(self, forks: Iterable[tuple[str, str]]) -> Contents:
        """The rows of forks, given as (tag, table)."""
        rows = self._rows({(tag, table): self._fork(tag, table) for tag, table in forks})
        return {at: dict(self._split(at[1], row) for row in found) for at, found in rows.items()}

    def derived(self, tag: str, declaration: Declaration) -> dict[str, list[tuple[int, int]]]:
        """The rows of a release's derived tables, through its own views."""
        schema = self._bindings[tag].pg_schema
        rows = self._rows({(tag, t): sql.Identifier(schema, t) for t in declaration.derived})
        return {table: sorted((r["i"], r["value"]) for r in found) for (_, table), found in rows.items()}

    def events(self, tag: str) -> Counter[int]:
        """The persons of the shared table's rows, through a release's own view."""
        schema = self._bindings[tag].pg_schema
        rows = self._rows({(tag, "events"): sql.Identifier(schema, "events")})
        return Counter(decode(self.shape, "person_id", row["person_id"]) for row in rows[tag, "events"])

    def sealed(self) -> set[str]:
        """The fingerprints of sealed tables that are there, and of no others."""
        rows = self._admin.execute(
            "SELECT p.fingerprint, c.oid IS NOT NULL FROM mlops.physical AS p"
            " FULL JOIN (SELECT * FROM pg_class WHERE relnamespace = 'store'::regnamespace AND relname ~ '^p_')"
            "  AS c ON c.relname = p.physical WHERE p.state = 'sealed' OR p.state IS NULL"
        ).fetchall()
        assert all(fingerprint and there for fingerprint, there in rows), rows
        return {fingerprint for fingerprint, _ in rows}

    def lost(self) -> Counter[Lost]:
        """The loss table."""
        tags = {binding.digest: tag for tag, binding in self._bindings.items()}
        rows = self._admin.execute(
            "SELECT table_name, key, row, left_digest, to_digest FROM mlops.loss"
        ).fetchall()
        found: Counter[Lost] = Counter()
        for table, key, row, left, to in rows:
            at, values = self._split(table, {**key, **(row or {})})
            kept = tuple(sorted(values.items())) if row is not None else None
            found[Lost(table, at, kept, tags[left], tags[to])] += 1
        return found

    def pinned(self) -> set[str]:
        """The releases that are pinned."""
        rows = self._admin.execute(
            "SELECT b.release FROM mlops.pin JOIN mlops.binding AS b USING (env, digest)"
        )
        return {row[0] for row in rows}

    def left_of(self, tag: str) -> list[str]:
        """What is there of a release's pg_schemas and role."""
        binding = self._bindings[tag]
        schemas = [binding.pg_schema, staging_schema(binding.pg_schema)]
        rows = self._admin.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)"
            " UNION ALL SELECT rolname FROM pg_roles WHERE rolname = %s",
            [schemas, binding.role],
        ).fetchall()
        return [row[0] for row in rows]

    def mentions(self, table: str, key: Key) -> list[str]:
        """The forks, logs and records that have a key of a forked table."""
        columns = self.shape.key(table)
        values = [str(value) for value in encode_key(self.shape, table, key)]
        names = self._admin.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND (n.nspname ~ '^(rel|stg)_' AND c.relname = %(table)s"
            "  OR n.nspname = 'store' AND c.relname IN ('log_' || %(table)s, 'pending_' || %(table)s))",
            {"table": table},
        ).fetchall()
        is_key = sql.SQL(" AND ").join(sql.SQL("{}::text = %s").format(sql.Identifier(c)) for c in columns)
        found = []
        for name in names:
            query = sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 1").format(sql.Identifier(*name), is_key)
            if self._admin.execute(query, values).rowcount:
                found.append(".".join(name))
        lost = "SELECT 1 FROM mlops.loss WHERE table_name = %s AND key = %s"
        document = Jsonb(dict(zip(columns, encode_key(self.shape, table, key), strict=True)))
        return found + ["loss"] * self._admin.execute(lost, [table, document]).rowcount

    def _fork(self, tag: str, table: str) -> sql.Identifier:
        rows = self._admin.execute(
            "SELECT f.pg_schema FROM mlops.fork AS f JOIN mlops.binding AS b USING (env, digest)"
            " WHERE b.release = %s AND f.table_name = %s",
            [tag, table],
        ).fetchall()
        return sql.Identifier(rows[0][0], table)

    def _rows(self, tables: dict[tuple[str, str], sql.Identifier]) -> dict[tuple[str, str], list[Row]]:
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        if tables:
            query = sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {}, {}, coalesce(jsonb_agg(t), '[]') FROM {} AS t").format(*at, name)
                for at, name in tables.items()
            )
            for tag, table, rows in self._admin.execute(query).fetchall():
                found[tag, table] = rows
        return found

    def _split(self, table: str, row: Row) -> tuple[Key, Row]:
        columns = self.shape.key(table)
        key = tuple(decode(self.shape, column, row[column]) for column in columns)
        return key, {name: value for name, value in row.items() if name not in columns}
