-- What the janitor looks at and what it deletes. Names that a release declares are given by psycopg.sql.

-- name: releases
-- Bound releases that are not retired, oldest first, with what keeps them: the pointer, pins, forks that hold
-- the rows which were written last.
SELECT b.digest, b.release, b.status, p.digest IS NOT NULL AND p.digest = b.digest, b.unreferenced_at,
       ARRAY(SELECT n.reason FROM mlops.pin AS n WHERE n.env = b.env AND n.digest = b.digest ORDER BY n.at),
       ARRAY(SELECT f.table_name FROM mlops.fork AS f WHERE f.env = b.env AND f.digest = b.digest),
       ARRAY(SELECT f.table_name FROM mlops.fork AS f JOIN mlops.forked AS t ON t.source = f.id
              WHERE f.env = b.env AND f.digest = b.digest)
  FROM mlops.binding AS b JOIN mlops.pointer AS p USING (env)
 WHERE b.env = %(env)s AND b.status <> 'retired' ORDER BY b.seq;

-- name: tables
-- Derived tables that no wanted release has reserved, of any environment of this database.
SELECT p.fingerprint, p.table_name, CASE p.state WHEN 'sealed' THEN p.physical ELSE p.attempt_table END,
       p.physical, p.keep_until, ARRAY(SELECT t.digest FROM mlops.release_table AS t WHERE t.fingerprint = p.fingerprint)
  FROM mlops.physical AS p
 WHERE NOT EXISTS (
   SELECT FROM mlops.release_table AS t JOIN mlops.binding AS b USING (env, digest)
    WHERE t.fingerprint = p.fingerprint AND (b.status <> 'unreferenced' OR b.env <> %(env)s))
 ORDER BY p.sealed_at NULLS LAST, p.fingerprint;

-- name: idle_logs
SELECT table_name FROM mlops.forked AS t
 WHERE env = %(env)s
   AND NOT EXISTS (SELECT FROM mlops.fork AS f WHERE f.env = t.env AND f.table_name = t.table_name)
 ORDER BY table_name;

-- name: forked_tables
SELECT table_name FROM mlops.forked WHERE env = %(env)s ORDER BY table_name;

-- name: has_stray
SELECT EXISTS (SELECT FROM {pending} AS p WHERE NOT EXISTS (SELECT FROM mlops.fork AS f WHERE f.id = p.mlops_target));

-- name: delete_stray
DELETE FROM {pending} AS p WHERE NOT EXISTS (SELECT FROM mlops.fork AS f WHERE f.id = p.mlops_target);

-- name: orphans
-- What looks as if the SDK had made it, and no record knows: pg_schemas of releases, tables of the store, shared
-- tables, and roles that hold something in this database (roles span the server's databases).
SELECT 'pg_schema', nspname FROM pg_namespace
 WHERE nspname ~ '^(rel|stg)_'
   AND NOT EXISTS (SELECT FROM mlops.binding AS b WHERE b.status <> 'retired'
                      AND nspname IN (b.pg_schema, regexp_replace(b.pg_schema, '^rel_', 'stg_'),
                                      b.pg_schema || '_scratch'))
UNION ALL
SELECT 'table', 'store.' || c.relname FROM pg_class AS c
 WHERE c.relnamespace = 'store'::regnamespace AND c.relkind IN ('r', 'p', 'm')
   AND NOT EXISTS (SELECT FROM mlops.physical AS p WHERE c.relname IN (p.physical, p.attempt_table))
   AND NOT EXISTS (SELECT FROM mlops.forked AS t
                    WHERE c.relname IN ('log_' || t.table_name, 'pending_' || t.table_name))
UNION ALL
SELECT 'table', 'shared.' || c.relname FROM pg_class AS c
 WHERE c.relnamespace = 'shared'::regnamespace AND c.relkind IN ('r', 'p', 'm')
   AND NOT EXISTS (SELECT FROM mlops.shared_table AS s WHERE s.table_name = c.relname)
UNION ALL
SELECT DISTINCT 'role', r.rolname::text FROM pg_roles AS r JOIN pg_shdepend AS d ON d.refobjid = r.oid
 WHERE d.refclassid = 'pg_authid'::regclass
   AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND r.rolname ~ '^(rel|build)_'
   AND NOT EXISTS (SELECT FROM mlops.binding AS b WHERE b.status <> 'retired'
                      AND r.rolname IN (b.role, b.role || '_scratch'))
   AND NOT EXISTS (SELECT FROM mlops.physical AS p WHERE p.builder = r.rolname)
ORDER BY 1, 2;

-- name: hold_release
-- The binding's row, so that no pin comes meanwhile; skipped if somebody else is at it.
SELECT 1 FROM mlops.binding WHERE env = %(env)s AND digest = %(key)s FOR UPDATE SKIP LOCKED;

-- name: hold_table
-- A release that reserves the table holds its row FOR KEY SHARE: then it is skipped.
SELECT physical, state, attempt_table FROM mlops.physical WHERE fingerprint = %(key)s FOR UPDATE SKIP LOCKED;

-- name: leave_retention
-- A release that is dropped leaves the retention which it declared to its derived tables.
UPDATE mlops.physical AS p SET keep_until = greatest(p.keep_until, %(until)s)
  FROM mlops.release_table AS t
 WHERE t.env = %(env)s AND t.digest = %(digest)s AND t.table_name = %(table)s AND t.fingerprint = p.fingerprint;

-- name: give_up_truth
-- Nobody holds the truth of these tables any more: a release that has them later begins with none.
UPDATE mlops.forked SET source = NULL WHERE env = %(env)s AND source = ANY(%(forks)s);

-- name: views
SELECT table_name FROM mlops.release_table
 WHERE env = %(env)s AND digest = %(digest)s AND kind <> 'forked' ORDER BY table_name;
