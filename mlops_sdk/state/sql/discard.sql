-- What a cutover leaves behind by a table's policy: keys that were written since the target was live, and whose row
-- is another in the fork that is left. Columns that only the target has are not compared.

-- name: differing
SELECT {key_object} AS key, to_jsonb(s) AS row
  FROM {keys} AS k LEFT JOIN {left} AS s ON {s_is_k} LEFT JOIN {fork} AS t ON {t_is_k}
 WHERE to_jsonb(s) IS DISTINCT FROM (to_jsonb(t) - {only_target}::text[]);

-- name: pending
(SELECT {key} FROM {pending} WHERE mlops_target = {target});

-- name: pending_or_logged
(SELECT {key} FROM {pending} WHERE mlops_target = {target} UNION SELECT {key} FROM {log});

-- name: record
INSERT INTO mlops.loss (env, table_name, key, row, n, left_digest, to_digest)
SELECT {env}, {table}, d.key, d.row, {n}, {left_digest}, {to_digest} FROM ({differing}) AS d;

-- name: pin
INSERT INTO mlops.pin (env, digest, reason, who) VALUES (%s, %s, 'discarded rows', %s) ON CONFLICT DO NOTHING;
