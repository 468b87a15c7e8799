-- What tables take: estimates of rows from the last ANALYZE or vacuum, bytes with indexes. It only reads.

-- name: tables
-- Every table of every release that is not retired, with the real table behind its name: a fork is where its row
-- says (staging, then the release's pg_schema), a derived one in the store, a shared one is common.
WITH real AS (
    SELECT t.env, t.digest, t.table_name, t.kind,
           CASE t.kind WHEN 'forked' THEN f.pg_schema WHEN 'derived' THEN 'store' ELSE 'shared' END AS in_schema,
           CASE t.kind WHEN 'derived' THEN
                CASE p.state WHEN 'sealed' THEN p.physical ELSE p.attempt_table END
                ELSE t.table_name END AS name,
           coalesce(f.state, p.state) AS state,
           CASE p.state WHEN 'sealed' THEN p.rows END AS sealed_rows
      FROM mlops.release_table AS t
      LEFT JOIN mlops.fork AS f ON t.kind = 'forked' AND (f.env, f.digest, f.table_name) = (t.env, t.digest, t.table_name)
      LEFT JOIN mlops.physical AS p ON p.fingerprint = t.fingerprint
     WHERE t.env = %(env)s)
SELECT r.digest, r.table_name, r.kind, r.in_schema || '.' || r.name, r.state,
       coalesce(r.sealed_rows, CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END),
       coalesce(pg_total_relation_size(c.oid), 0)
  FROM real AS r
  LEFT JOIN pg_namespace AS n ON n.nspname = r.in_schema
  LEFT JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.name
 ORDER BY r.digest, r.kind, r.table_name;

-- name: releases
-- Kept releases, newest first, with the reasons of their pins.
SELECT b.digest, b.release, b.status, p.digest IS NOT NULL AND p.digest = b.digest, b.pg_schema,
       ARRAY(SELECT n.reason FROM mlops.pin AS n WHERE n.env = b.env AND n.digest = b.digest ORDER BY n.at)
  FROM mlops.binding AS b JOIN mlops.pointer AS p USING (env)
 WHERE b.env = %(env)s AND b.status <> 'retired' ORDER BY b.seq DESC;

-- name: totals
-- All of the store and the shared tables, those that no release uses too.
SELECT coalesce(sum(size) FILTER (WHERE what = 'store'), 0), coalesce(sum(size) FILTER (WHERE what = 'log'), 0),
       coalesce(sum(size) FILTER (WHERE what = 'pending'), 0), coalesce(sum(size) FILTER (WHERE what = 'shared'), 0),
       pg_total_relation_size('mlops.loss'),
       (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('mlops.prediction_log')),
       pg_database_size(current_database())
  FROM (SELECT CASE WHEN c.relnamespace = 'shared'::regnamespace THEN 'shared'
                    WHEN EXISTS (SELECT FROM mlops.forked AS t WHERE c.relname = 'log_' || t.table_name) THEN 'log'
                    WHEN EXISTS (SELECT FROM mlops.forked AS t WHERE c.relname = 'pending_' || t.table_name) THEN 'pending'
                    ELSE 'store' END AS what,
               pg_total_relation_size(c.oid) AS size
          FROM pg_class AS c
         WHERE c.relnamespace IN ('store'::regnamespace, 'shared'::regnamespace) AND c.relkind = 'r') AS s;
