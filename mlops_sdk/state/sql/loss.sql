-- What a rollback would do to rows. Everything is read in one snapshot.

-- name: changes
-- Row changes since the fork became live: counted when the log was drained, or still in it.
SELECT f.changes - f.changes_at_live + (SELECT count(*) FROM {log} WHERE mlops_src = f.id)
  FROM mlops.fork AS f WHERE f.id = {id};

-- name: lost
-- Keys whose row the target would have otherwise, counted and some of them.
WITH d AS MATERIALIZED ({differing})
SELECT (SELECT count(*) FROM d), ARRAY(SELECT key FROM d ORDER BY key LIMIT {samples});

-- name: waiting
-- Some keys that a last carry would bring to the target.
SELECT {key_object} FROM {keys} AS k ORDER BY {key} LIMIT {samples};

-- name: shared
-- Rows that transactions have written since a snapshot, counted and the newest of them.
WITH w AS MATERIALIZED (
  SELECT {xid} AS xid, {key_object} AS key FROM {shared} AS k
   WHERE {xid} >= pg_snapshot_xmin({old}::pg_snapshot) AND NOT pg_visible_in_snapshot({xid}, {old}::pg_snapshot))
SELECT (SELECT count(*) FROM w), ARRAY(SELECT key FROM w ORDER BY xid DESC, key DESC LIMIT {samples});
