-- Forks as the control tables know them, and the objects that each logical forked table has once.

-- name: read_forks
-- `source` is the fork that holds the truth, `moved` the one that holds it for `weight` of 256 buckets while
-- entities are shifted: only a weight of the pointer's own epoch is in force, and only where the live release has the
-- table too. Nobody writes one that it has not, and all of its truth stays where it was left.
SELECT f.id, f.digest, f.table_name, f.pg_schema, f.state, t.source, f.round, f.lived, f.replayed,
       f.generation, to_regclass(format('%%I.%%I', f.pg_schema, f.table_name)) IS NOT NULL, m.id, coalesce(w.weight, 0)
  FROM mlops.fork AS f
  JOIN mlops.forked AS t USING (env, table_name)
  LEFT JOIN (mlops.weight AS w JOIN mlops.pointer AS p USING (env, epoch)) ON w.env = f.env
  LEFT JOIN mlops.fork AS m ON m.env = f.env AND m.digest = w.digest AND m.table_name = f.table_name
   AND EXISTS (SELECT FROM mlops.fork AS l
                WHERE l.env = f.env AND l.digest = p.digest AND l.table_name = f.table_name)
 WHERE f.env = %(env)s AND (f.digest = ANY(%(digests)s) OR f.id = ANY(%(ids)s)
                            OR f.table_name = ANY(%(tables)s))
 ORDER BY f.table_name, f.id;

-- name: lock_drain
-- The advisory lock (drain, table), until the transaction ends.
SELECT pg_advisory_xact_lock(%s, hashtext(%s));

-- name: hold_drain
-- The same lock until the session gives it back: it must be had before a snapshot is taken.
SELECT pg_advisory_lock(%s, hashtext(%s));

-- name: create_log
-- One row a change, no key: a key would make writers of one row wait for each other. Emptied all the time, so
-- its dead rows are vacuumed by their number, not by their share.
CREATE TABLE {log} (mlops_src int NOT NULL, {columns})
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- name: create_pending
-- Keys that were carried leave dead rows. With each round a scan begins behind them, also while an old snapshot
-- keeps them from being vacuumed.
CREATE TABLE {pending} (mlops_target int NOT NULL, mlops_round int NOT NULL, {columns},
  PRIMARY KEY (mlops_target, mlops_round, {key}))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- name: capture_rows
-- The release's role may not write the log; the function may, for whoever changes a fork. It looks nothing up by
-- search_path, so it sets none, which each write would pay for: the log is qualified, and a transition table stands
-- before any other. A key column may be named as one of the language's variables is.
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $capture$
#variable_conflict use_column
BEGIN
  INSERT INTO {log} SELECT {id}, {key} FROM mlops_rows;
  RETURN NULL;
END $capture$;

-- name: capture_key
-- The same for the key that a row had before an UPDATE of it.
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $capture$
BEGIN
  INSERT INTO {log} VALUES ({id}, {old_key});
  RETURN NULL;
END $capture$;

-- name: on_rows
-- The carry is exempt by its role, which nobody can take on, not by a setting, which anybody could.
CREATE TRIGGER {trigger} AFTER {event} ON {fork} REFERENCING {rows} TABLE AS mlops_rows FOR EACH STATEMENT
  WHEN (current_user <> 'sdk_carry') EXECUTE FUNCTION {function}();

-- name: on_key
-- Only an UPDATE that names a key column can change it: forks have no trigger that does.
CREATE TRIGGER {trigger} AFTER UPDATE OF {key} ON {fork} FOR EACH ROW
  WHEN (current_user <> 'sdk_carry' AND ({changed})) EXECUTE FUNCTION {function}();

-- name: forget_fork
DELETE FROM mlops.fork WHERE id = %s;
