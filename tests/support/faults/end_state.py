"""What a database holds once an operation is done, in a form that is equal for equal ends.

Numbers that a try uses up (of forks, attempts, ledger entries, identities) and times are left out.
"""

from typing import Any

import psycopg
from psycopg import sql

EndState = dict[str, list[tuple[Any, ...]]]

# The label of a fork takes the place of its number.
_FORKS = "SELECT id::text, left(digest, 15) || ':' || table_name FROM mlops.fork"
_SCHEMAS = "('store', 'shared', 'sdk_keep') OR n.nspname ~ '^(rel|stg)_'"

_ACL = "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest({}) AS a)"
_IN_SCHEMA = f"JOIN pg_namespace AS n ON n.oid = c.relnamespace AND (n.nspname IN {_SCHEMAS})"

_QUERIES = {
    "live": "SELECT env, digest FROM mlops.pointer",
    "times live": "SELECT count(*) FROM mlops.entry WHERE kind = 'live'",
    "releases": "SELECT release, status FROM mlops.binding",
    "built": "SELECT table_name, fingerprint, state, rows FROM mlops.physical",
    "forks": "SELECT left(digest, 15), table_name, pg_schema, state FROM mlops.fork",
    "truth": "SELECT t.table_name, left(f.digest, 15) FROM mlops.forked AS t"
    " LEFT JOIN mlops.fork AS f ON f.id = source",
    "used": "SELECT digest, table_name, kind, fingerprint FROM mlops.release_table",
    "loss": "SELECT table_name, key::text, row::text FROM mlops.loss",
    "pins": "SELECT digest, who FROM mlops.pin",
    "schemas": f"SELECT nspname, pg_get_userbyid(nspowner), {_ACL.format('nspacl')}"
    f" FROM pg_namespace AS n WHERE n.nspname IN {_SCHEMAS}",
    "relations": "SELECT n.nspname, relname, relkind, relpersistence, pg_get_userbyid(relowner), reloptions,"
    f" {_ACL.format('relacl')} FROM pg_class AS c {_IN_SCHEMA}",
    "constraints": "SELECT n.nspname, relname, CASE contype WHEN 'n' THEN '' ELSE conname END,"
    " pg_get_constraintdef(o.oid), convalidated"
    f" FROM pg_constraint AS o JOIN pg_class AS c ON c.oid = conrelid {_IN_SCHEMA}",
    "triggers": "SELECT n.nspname, relname, tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger AS t"
    f" JOIN pg_class AS c ON c.oid = tgrelid {_IN_SCHEMA} WHERE NOT tgisinternal",
    "roles": "SELECT rolname, rolcanlogin, rolconfig, ARRAY(SELECT m.roleid::regrole::text || ':' || m.inherit_option"
    " || ':' || m.set_option FROM pg_auth_members AS m WHERE m.member = r.oid ORDER BY 1),"
    " ARRAY(SELECT m.member::regrole::text FROM pg_auth_members AS m WHERE m.roleid = r.oid ORDER BY 1)"
    " FROM pg_roles AS r WHERE position(%(app)s IN rolname) > 0 OR starts_with(rolname, 'build_' ||"
    " (SELECT oid FROM pg_database WHERE datname = current_database()) || '_')",
}


def end_state(conn: psycopg.Connection[Any], app: str) -> EndState:
    """Everything that must not depend on a fault; `conn` is the superuser's."""
    labels = dict(conn.execute(_FORKS).fetchall())
    found = {
        name: _sorted(conn.execute(query.encode(), {"app": app}).fetchall(), labels)
        for name, query in _QUERIES.items()
    }
    for schema, relation in _with_rows(conn):
        found[f"rows of {schema}.{relation}"] = _rows(conn, schema, relation)
    return found


def _with_rows(conn: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return conn.execute(
        "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'v') AND (n.nspname ~ '^(rel|stg)_'"
        "  OR n.nspname = 'store' AND c.relname ~ '^(log|pending)_')"
    ).fetchall()


def _rows(conn: psycopg.Connection[Any], schema: str, relation: str) -> list[tuple[Any, ...]]:
    query = sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(schema, relation))
    return conn.execute(query).fetchall()


def _sorted(rows: list[tuple[Any, ...]], labels: dict[str, str]) -> list[tuple[Any, ...]]:
    return sorted((tuple(_label(value, labels) for value in row) for row in rows), key=repr)


def _label(value: Any, labels: dict[str, str]) -> Any:
    """`fork_7` and the trigger's argument `7` name the fork instead."""
    if isinstance(value, str):
        number = value.removeprefix("fork_").removesuffix("\\000")
        if number != value and number in labels:
            return f"fork of {labels[number]}"
    return value


def differences(found: EndState, wanted: EndState) -> list[str]:
    """What differs, as sentences."""
    sentences = []
    for name in sorted(found.keys() | wanted.keys()):
        here, there = found.get(name, []), wanted.get(name, [])
        sentences += [f"{name}: {row} is there, and should not be" for row in here if row not in there]
        sentences += [f"{name}: {row} is missing" for row in there if row not in here]
        if len(here) != len(there) and sorted(map(repr, here)) != sorted(map(repr, there)):
            sentences.append(f"{name}: {len(here)} rows instead of {len(there)}")
    return sentences
