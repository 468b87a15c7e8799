-- What `mlops doctor` looks at, and at the end its two repairs, as role sdk.

-- name: server
SELECT current_setting('server_version_num')::int,
       (SELECT extversion FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'vector' AND n.nspname = 'sdk_ext'),
       (SELECT jsonb_object_agg(name, setting) FROM pg_settings
         WHERE name IN ('max_connections', 'superuser_reserved_connections', 'deadlock_timeout'));

-- name: roles
-- Attributes that are rights, settings as they are stored, and whether the role may make temporary tables, one of
-- which could stand before a view.
SELECT rolname,
       array_remove(ARRAY[
           CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
           CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
           CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN rolcanlogin THEN 'LOGIN' END
       ], NULL),
       coalesce(rolconfig, '{}'),
       has_database_privilege(oid, current_database(), 'TEMPORARY')
  FROM pg_roles WHERE rolname = ANY(%(roles)s);

-- name: memberships
-- Who is a member of whom, with ADMIN, INHERIT and SET; Postgres 15 has only the first.
SELECT m.rolname, r.rolname, bool_or(a.admin_option),
       bool_or(coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, true)),
       bool_or(coalesce((to_jsonb(a) ->> 'set_option')::boolean, true))
  FROM pg_auth_members AS a JOIN pg_roles AS m ON m.oid = a.member JOIN pg_roles AS r ON r.oid = a.roleid
 WHERE m.rolname = ANY(%(roles)s)
 GROUP BY 1, 2;

-- name: public_rights
-- What everybody may, by object. Functions and types of the system are everybody's; ours are not.
SELECT 'database ' || datname, x.privilege_type
  FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS x
 WHERE datname = current_database() AND x.grantee = 0
UNION ALL
SELECT 'schema ' || nspname, x.privilege_type
  FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS x
 WHERE nspname = ANY(%(schemas)s || '{public}'::text[]) AND x.grantee = 0
UNION ALL
SELECT format('%%I.%%I', n.nspname, c.relname), x.privilege_type
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS x
 WHERE n.nspname = ANY(%(schemas)s) AND x.grantee = 0
UNION ALL
SELECT 'function ' || p.oid::regprocedure, x.privilege_type
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace,
       aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS x
 WHERE n.nspname IN ('mlops', 'store') AND p.prosecdef AND x.grantee = 0
       AND p.prorettype <> 'trigger'::regtype
 ORDER BY 1, 2;

-- name: owned
-- What roles of releases own; it should be nothing.
SELECT r.rolname, pg_describe_object(d.classid, d.objid, d.objsubid)
  FROM pg_shdepend AS d JOIN pg_roles AS r ON r.oid = d.refobjid
 WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = ANY(%(roles)s)
   AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY 1, 2;

-- name: missing_rights
-- What a release needs beside its forks and has not: what is common to all of them through sdk_app (of a shared table
-- the columns, for a COPY into it), and its own views. Rows are (role, right, object).
WITH wanted(role, right_, kind, name, has) AS (
  SELECT 'sdk_app', 'USAGE', 'SCHEMA', format('%%I', s), has_schema_privilege('sdk_app', s, 'USAGE')
    FROM unnest(ARRAY['mlops', 'shared', 'sdk_ext']) AS s
  UNION ALL
  SELECT 'sdk_app', r, 'TABLE', t, has_table_privilege('sdk_app', t, r)
    FROM (VALUES ('mlops.pointer_view', 'SELECT'), ('mlops.prediction_log', 'INSERT')) AS v(t, r)
  UNION ALL
  SELECT 'sdk_app', format('INSERT (%%I)', a.attname), 'TABLE', format('shared.%%I', c.relname),
         has_column_privilege('sdk_app', c.oid, a.attnum, 'INSERT')
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
   WHERE c.relnamespace = 'shared'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
         AND a.attname <> ALL (%(hidden)s)
  UNION ALL
  SELECT r.rolname, 'USAGE', 'SCHEMA', format('%%I', n.nspname), has_schema_privilege(r.oid, n.oid, 'USAGE')
    FROM pg_roles AS r JOIN pg_namespace AS n ON n.nspname = r.rolname WHERE r.rolname = ANY(%(roles)s)
  UNION ALL
  SELECT r.rolname, 'SELECT', 'TABLE', format('%%I.%%I', n.nspname, c.relname),
         has_table_privilege(r.oid, c.oid, 'SELECT')
    FROM pg_roles AS r JOIN pg_namespace AS n ON n.nspname = r.rolname JOIN pg_class AS c ON c.relnamespace = n.oid
   WHERE r.rolname = ANY(%(roles)s) AND c.relkind = 'v'
  UNION ALL
  SELECT r.rolname, 'INSERT', 'TABLE', format('%%I.%%I', n.nspname, c.relname),
         has_table_privilege(r.oid, c.oid, 'INSERT')
    FROM pg_roles AS r JOIN pg_namespace AS n ON n.nspname = r.rolname JOIN pg_class AS c ON c.relnamespace = n.oid
    JOIN pg_class AS s ON s.relnamespace = 'shared'::regnamespace AND s.relname = c.relname AND s.relkind = 'r'
   WHERE r.rolname = ANY(%(roles)s) AND c.relkind = 'v')
SELECT role, right_, kind || ' ' || name FROM wanted WHERE NOT has ORDER BY 1, 2, 3;

-- name: forks
-- A fork's table as the catalog has it: capture triggers and others with their state (A: always), whether its
-- guard is there, autovacuum, and who but its owner was granted what on the table or on a column.
SELECT f.id, b.release, b.role,
       to_regclass(format('sdk_keep.%%I', 'fork_' || f.id)) IS NOT NULL,
       coalesce(c.reloptions && '{autovacuum_enabled=off,autovacuum_enabled=false}', false),
       (SELECT coalesce(jsonb_object_agg(t.tgname, t.tgenabled), '{}') FROM pg_trigger AS t
         WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
       (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
                   coalesce((SELECT rolname FROM pg_roles WHERE oid = x.grantee), 'PUBLIC'), x.privilege_type)), '[]')
          FROM (SELECT (aclexplode(c.relacl)).* UNION ALL
                SELECT (aclexplode(a.attacl)).* FROM pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL) AS x
         WHERE x.grantee <> c.relowner)
  FROM mlops.fork AS f JOIN mlops.binding AS b USING (env, digest)
  JOIN pg_class AS c ON c.oid = to_regclass(format('%%I.%%I', f.pg_schema, f.table_name))
 WHERE f.env = %(env)s;

-- name: definers
-- Functions that run with their owner's rights, where the owner may write a fork: a release that is fenced off
-- could write through one. The SDK's own are in schemas mlops and store.
SELECT p.oid::regprocedure::text, p.proowner::regrole::text
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.prosecdef AND n.nspname NOT IN ('mlops', 'store', 'pg_catalog', 'information_schema')
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
   AND EXISTS (SELECT FROM mlops.fork AS f
                WHERE f.env = %(env)s AND has_table_privilege(
                    p.proowner, to_regclass(format('%%I.%%I', f.pg_schema, f.table_name)),
                    'INSERT, UPDATE, DELETE, TRUNCATE'))
 ORDER BY 1;

-- name: odd_views
-- Views of releases with an option that costs them the vector index, or all rights.
SELECT format('%%I.%%I', n.nspname, c.relname), array_to_string(c.reloptions, ', ')
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'v' AND c.reloptions::text ~ 'security_(barrier|invoker)=(true|on)'
 ORDER BY 1;

-- name: pending
-- Keys that wait for a fork; not all of many are counted.
SELECT count(*) FROM (SELECT FROM {pending} WHERE mlops_target = %s LIMIT 1000000) AS w;

-- name: autovacuum_on
ALTER TABLE {table} RESET (autovacuum_enabled);

-- name: always_fire
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger};
