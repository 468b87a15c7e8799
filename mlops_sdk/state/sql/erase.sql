-- Removing rows by their key. `keys` is a JSON list of objects, the key's columns as text: values are never in a
-- statement's own text.

-- name: delete
DELETE FROM {table} AS t USING jsonb_to_recordset(%(keys)s) AS k({columns}) WHERE {t_is_k};

-- name: count
SELECT count(*) FROM {table} AS t JOIN jsonb_to_recordset(%(keys)s) AS k({columns}) ON {t_is_k};

-- name: referring
-- The keys of rows that refer to one of the given rows.
SELECT {child_key} FROM {child} AS c JOIN {parent} AS t ON {c_refers_t}
  JOIN jsonb_to_recordset(%(keys)s) AS k({columns}) ON {t_is_k};

-- name: found_by
-- The keys of rows that have a value in another column.
SELECT {key} FROM {table} AS t WHERE {column} = %(value)s::{type};

-- name: delete_by
DELETE FROM {table} AS t WHERE {column} = %(value)s::{type};

-- name: delete_loss
DELETE FROM mlops.loss AS l USING jsonb_to_recordset(%(keys)s) AS k({columns})
 WHERE l.env = %(env)s AND l.table_name = %(table)s AND l.key = {key};

-- name: delete_predictions
DELETE FROM mlops.prediction_log WHERE entity = ANY(%(entities)s);

-- name: canonical_key
SELECT {columns};

-- name: kept
-- Releases that are not retired, oldest first.
SELECT digest, release FROM mlops.binding WHERE env = %(env)s AND status <> 'retired' ORDER BY seq;

-- name: sealed
-- Sealed tables of the kept releases.
SELECT DISTINCT p.table_name, p.physical, p.spec FROM mlops.physical AS p
  JOIN mlops.release_table AS t USING (fingerprint)
 WHERE t.env = %(env)s AND p.state = 'sealed' ORDER BY 1, 2;
