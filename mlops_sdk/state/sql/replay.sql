-- Replaying a shared table's rows into a fork. A window is what one snapshot sees and an earlier one does not:
-- exact also for rows that were in flight at either.

-- name: snapshot
SELECT pg_current_snapshot()::text;

-- name: generation
-- In which generation rows are written now: whoever restores a dump raises the column's default, for the
-- transaction ids of a dump mean nothing in another server.
SELECT pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE a.attrelid = to_regclass(format('shared.%%I', %(table)s::text)) AND a.attname = %(column)s;

-- name: window
-- The bounds on the transaction id are for its index.
SELECT {columns} FROM {shared}
 WHERE {xid} >= pg_snapshot_xmin({old}::pg_snapshot) AND {xid} < pg_snapshot_xmax({new}::pg_snapshot)
   AND NOT pg_visible_in_snapshot({xid}, {old}::pg_snapshot) AND pg_visible_in_snapshot({xid}, {new}::pg_snapshot)
   AND {generation_column} = {generation};

-- name: replayed
UPDATE mlops.fork SET replayed = %s, generation = %s WHERE id = %s;

-- name: may_read
SELECT has_table_privilege('sdk_carry', format('shared.%%I', %s::text), 'SELECT');
