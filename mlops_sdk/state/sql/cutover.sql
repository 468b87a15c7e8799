-- The cutover, and what stands in its way.

-- name: status
SELECT status FROM mlops.binding WHERE env = %s AND digest = %s;

-- name: move_sources
-- From now on the target's forks hold the truth, and count what is written to them.
UPDATE mlops.forked AS t SET source = f.id FROM mlops.fork AS f
 WHERE f.env = %(env)s AND f.digest = %(digest)s AND t.env = f.env AND t.table_name = f.table_name;

-- name: mark_lived
UPDATE mlops.fork SET changes_at_live = changes, lived = true, replayed = NULL, generation = NULL
 WHERE env = %(env)s AND digest = %(digest)s;

-- name: jump
-- The truth jumps: forks that only followed the one that is left must be copied from the one that is live now.
UPDATE mlops.fork SET state = 'stale'
 WHERE env = %(env)s AND digest = ANY(%(digests)s) AND table_name = ANY(%(tables)s);

-- name: move_pointer
UPDATE mlops.pointer SET digest = %s, epoch = epoch + 1, entry = %s WHERE env = %s;

-- name: autovacuum
SELECT coalesce('autovacuum_enabled=off' = ANY(reloptions), false) FROM pg_class
 WHERE oid = to_regclass(format('%%I.%%I', %s::text, %s::text));

-- name: blockers
-- Who holds a lock on these tables that a writer would hold, longest first. `ours`: a release's role, which the
-- SDK may end.
SELECT a.pid, a.usename, a.state, a.application_name,
       extract(epoch FROM clock_timestamp() - a.xact_start)::numeric(10, 1),
       a.usename = ANY(%(roles)s) AND a.state LIKE 'idle in transaction%%'
  FROM pg_stat_activity AS a
 WHERE a.pid <> pg_backend_pid() AND EXISTS (
       SELECT FROM pg_locks AS l
        WHERE l.pid = a.pid AND l.granted AND l.mode <> 'AccessShareLock'
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.relation IN (SELECT to_regclass(format('%%I.%%I', s, t))
                               FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS u(s, t)))
 ORDER BY a.xact_start NULLS LAST;

-- name: end_backend
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE pid = %s AND usename = %s AND state LIKE 'idle in transaction%%';
