-- The carry. `pending` changes only under the advisory lock (drain, table), so each statement of a drain sees the
-- same batch: the first keys of a target by order. MATERIALIZED makes the batch the outer side of every join.

-- name: plans
-- With hash and merge joins a plan can read a whole table for a few keys; nested loops cost by the key.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true);

-- name: fan_out
-- Moves the log's rows to every fork but the one that holds the key's truth, and counts them where they were
-- written. A key that was changed elsewhere (a cascade that the carry caused) goes back there too: it is made
-- right by the next drain.
WITH d AS (DELETE FROM {log} {some} RETURNING mlops_src, {key}),
counted AS (
  UPDATE mlops.fork AS f SET changes = f.changes + c.changes
    FROM (SELECT mlops_src, count(*) AS changes FROM d GROUP BY 1) AS c WHERE f.id = c.mlops_src),
fanned AS (
  INSERT INTO {pending} (mlops_target, mlops_round, {key})
  SELECT DISTINCT f.id, f.round, {d_key} FROM d JOIN mlops.fork AS f
      ON f.env = {env} AND f.table_name = {table} AND f.state <> 'stale' AND f.id <> {owner}
  ON CONFLICT DO NOTHING)
SELECT count(*) FROM d;

-- name: some
-- A bound for how many rows are taken, in the one scan: it reads dead rows too, while an old snapshot keeps them.
WHERE ctid = ANY(ARRAY(SELECT ctid FROM {log} LIMIT {most}));

-- name: waiting
-- How many keys wait for a target, as far as it matters.
SELECT count(*) FROM (SELECT FROM {pending} WHERE mlops_target = {target} AND mlops_round = {round} LIMIT {most}) AS w;

-- name: logged
SELECT count(*) FROM (SELECT FROM {log} LIMIT {most}) AS l;

-- name: batch
SELECT {key} FROM {pending} WHERE mlops_target = {target} AND mlops_round = {round} ORDER BY {key} LIMIT {limit};

-- name: update
-- OFFSET 0: a subquery of its own goes by the key's index, whatever the planner thinks of the sizes.
WITH k AS MATERIALIZED ({batch})
UPDATE {fork} AS t SET {set}
  FROM k CROSS JOIN LATERAL (SELECT {columns} FROM {source} AS s WHERE {s_is_k} OFFSET 0) AS s
 WHERE {t_is_k} AND {owned};

-- name: insert
WITH k AS MATERIALIZED ({batch})
INSERT INTO {fork} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {s_columns}
  FROM k CROSS JOIN LATERAL (SELECT {columns} FROM {source} AS s WHERE {s_is_k} OFFSET 0) AS s
 WHERE {owned} AND NOT EXISTS (SELECT FROM {fork} AS t WHERE {t_is_k} OFFSET 0);

-- name: delete
WITH k AS MATERIALIZED ({batch})
DELETE FROM {fork} AS t USING k
 WHERE {t_is_k} AND {owned} AND NOT EXISTS (SELECT FROM {source} AS s WHERE {s_is_k} OFFSET 0);

-- name: done
-- By place: a join of `pending` with its own first keys has no good estimate to go by.
DELETE FROM {pending} WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM {pending} WHERE mlops_target = {target} AND mlops_round = {round} ORDER BY {key} LIMIT {limit}));

-- name: next_round
UPDATE mlops.fork SET round = round + 1 WHERE id = ANY(%s);

-- name: forget
DELETE FROM {pending} WHERE mlops_target = {target};

-- name: mark_stale
UPDATE mlops.fork SET state = 'stale' WHERE id = ANY(%s) AND state = 'following';
