-- What a cutover leaves behind by a table's policy: keys that were written since the target was live, and whose row
-- is another in the fork that is left. Columns that only the target has are not compared.

-- name: differing
SELECT {key_object} AS key, s.row
  FROM {keys} AS k
  LEFT JOIN LATERAL (SELECT to_jsonb(s) AS row FROM {left} AS s WHERE {s_is_k} OFFSET 0) AS s ON TRUE
  LEFT JOIN LATERAL (SELECT to_jsonb(t) AS row FROM {fork} AS t WHERE {t_is_k} OFFSET 0) AS t ON TRUE
 WHERE s.row IS DISTINCT FROM (t.row - {only_target}::text[]);

-- name: pending
(SELECT {key} FROM {pending} WHERE mlops_target = {target} AND mlops_round = {round});

-- name: pending_or_logged
(SELECT {key} FROM {pending} WHERE mlops_target = {target} AND mlops_round = {round} UNION SELECT {key} FROM {log});

-- name: record
INSERT INTO mlops.loss (env, table_name, key, row, n, left_digest, to_digest)
SELECT {env}, {table}, d.key, d.row, {n}, {left_digest}, {to_digest} FROM ({differing}) AS d;

-- name: pin
INSERT INTO mlops.pin (env, digest, reason, who) VALUES (%s, %s, 'discarded rows', %s) ON CONFLICT DO NOTHING;
