-- name: may_read
-- Whether the reader has its rights on every table and view of a release.
SELECT has_schema_privilege(%(reader)s, n.oid, 'USAGE') AND NOT EXISTS (
         SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v')
            AND NOT has_table_privilege(%(reader)s, c.oid, 'SELECT'))
  FROM pg_namespace AS n WHERE n.nspname = %(schema)s;
