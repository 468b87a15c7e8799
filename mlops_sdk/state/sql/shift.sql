-- Shifting entities from the live release to the next.

-- name: weight
INSERT INTO mlops.weight (env, digest, weight, epoch) VALUES (%s, %s, %s, %s)
ON CONFLICT (env) DO UPDATE
   SET digest = excluded.digest, weight = excluded.weight, epoch = excluded.epoch, since = clock_timestamp();

-- name: no_weight
DELETE FROM mlops.weight WHERE env = %s;

-- name: read_weight
-- A weight of another epoch than the pointer's is not in force.
SELECT w.digest, w.weight FROM mlops.weight AS w JOIN mlops.pointer AS p USING (env, epoch) WHERE w.env = %s;

-- name: fence_function
-- What a release without the right to write is told, told in the same words by a row's bucket.
CREATE OR REPLACE FUNCTION store.mlops_fence() RETURNS trigger LANGUAGE plpgsql
 SET search_path = pg_catalog, pg_temp AS $fence$ BEGIN
  RAISE insufficient_privilege
    USING MESSAGE = format('permission denied for table %I: another release writes this entity', TG_TABLE_NAME);
END $fence$;

-- name: has_fence_function
SELECT to_regprocedure('store.mlops_fence()') IS NOT NULL;

-- name: fence
-- The threshold is a constant: one that is read would be stale in a REPEATABLE READ transaction. The carry is
-- exempt, not the owner, for cascades run as the owner.
CREATE OR REPLACE TRIGGER {trigger} BEFORE {event} ON {fork} FOR EACH ROW
  WHEN (current_user <> 'sdk_carry' AND ({elsewhere})) EXECUTE FUNCTION store.mlops_fence();

-- name: fences
SELECT t.tgname FROM pg_trigger AS t
 WHERE t.tgrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND t.tgname LIKE 'mlops\_fence\_%%'
   AND t.tgenabled = ANY(%s) ORDER BY 1;
