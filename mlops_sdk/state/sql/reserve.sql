-- Reservations: a row here keeps a table from the janitor. One statement for all tables of a release, so that a
-- cut takes the same number of round trips however many tables there are.

-- name: physical
-- Derived tables that are wanted; those that stand already stay as they are.
INSERT INTO mlops.physical (fingerprint, table_name, physical, spec, inputs, built_for)
SELECT t.fingerprint, t.table_name, t.physical, t.spec, t.inputs, %(release)s
  FROM jsonb_to_recordset(%(tables)s) AS t(fingerprint text, table_name text, physical text, spec jsonb, inputs jsonb)
    ON CONFLICT DO NOTHING;

-- name: hold
-- Waits for a janitor that is dropping one of them: its row is gone then, and is wanted anew. Until the end of the
-- transaction no other comes.
SELECT FROM mlops.physical WHERE fingerprint = ANY(%s) FOR KEY SHARE;

-- name: release_tables
INSERT INTO mlops.release_table (env, digest, table_name, kind, fingerprint)
SELECT %(env)s, %(digest)s, t.table_name, t.kind, t.fingerprint
  FROM jsonb_to_recordset(%(tables)s) AS t(table_name text, kind text, fingerprint text)
    ON CONFLICT DO NOTHING;
