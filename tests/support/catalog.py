"""What a Postgres schema holds, as plain lines, so that two databases can be compared.

Order of columns and names of databases do not count; names, types, defaults, constraints, indexes, sources of
functions, views, triggers, owners and grants do.
"""

from typing import Any

import psycopg

_QUERIES = {
    "relation": """
        SELECT c.relname, c.relkind, c.relowner::regrole, c.reloptions,
               array(SELECT x::text FROM unnest(coalesce(c.relacl, '{}')) AS x ORDER BY 1)
          FROM pg_class AS c WHERE c.relnamespace = %(schema)s::regnamespace""",
    "column": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
               array(SELECT x::text FROM unnest(coalesce(a.attacl, '{}')) AS x ORDER BY 1)
          FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace = %(schema)s::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
           AND c.relkind IN ('r', 'p', 'v')""",
    "constraint": """
        SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = %(schema)s::regnamespace AND contype <> 'n'""",
    "index": "SELECT indexdef FROM pg_indexes WHERE schemaname = %(schema)s",
    "view": "SELECT viewname, definition FROM pg_views WHERE schemaname = %(schema)s",
    "function": """
        SELECT oid::regprocedure, pg_get_functiondef(oid), proowner::regrole,
               array(SELECT x::text FROM unnest(coalesce(proacl, '{}')) AS x ORDER BY 1)
          FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace""",
    "trigger": """
        SELECT t.tgrelid::regclass, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
          FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
         WHERE c.relnamespace = %(schema)s::regnamespace AND NOT t.tgisinternal""",
    "schema": "SELECT nspname, nspowner::regrole, nspacl::text FROM pg_namespace WHERE nspname = %(schema)s",
}


def catalog(conn: psycopg.Connection[Any], schema: str, *, without: str = "") -> set[str]:
    """One line an object of `schema`; objects that name the relation `without` are left out."""
    found = set()
    with conn.transaction():
        conn.execute("SET LOCAL search_path = pg_catalog")
        for kind, query in _QUERIES.items():
            for row in conn.execute(query, {"schema": schema}).fetchall():
                line = f"{kind}: " + " | ".join(str(value) for value in row)
                if not without or without not in line:
                    found.add(line)
    return found


__all__ = ["catalog"]
