-- What the catalog says of tables and views, to be compared with their declaration.

-- name: search_path
-- Types are then written with the pg_schema they are in, the same in every session.
SET LOCAL search_path = '';

-- name: relations
-- One row a relation that is there; lists of what is on it.
SELECT n.nspname, c.relname, c.relkind::text,
       (SELECT jsonb_object_agg(a.attname, jsonb_build_object(
                 'type', format_type(a.atttypid, a.atttypmod), 'nullable', NOT a.attnotnull,
                 'generated', a.attgenerated <> '', 'identity', a.attidentity <> '',
                 'default', a.atthasdef AND a.attgenerated = ''))
          FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT jsonb_object_agg(o.conname, jsonb_build_object(
                 'type', o.contype, 'valid', o.convalidated, 'deferrable', o.condeferrable,
                 'columns', (SELECT jsonb_agg(a.attname ORDER BY k.n) FROM unnest(o.conkey) WITH ORDINALITY AS k(num, n)
                               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.num)))
          FROM pg_constraint AS o WHERE o.conrelid = c.oid AND o.contype IN ('p', 'u', 'f', 'c')),
       (SELECT jsonb_object_agg(i.relname, jsonb_build_object(
                 'valid', x.indisvalid, 'method', m.amname,
                 'opclasses', (SELECT jsonb_agg(p.opcname ORDER BY k.n) FROM unnest(x.indclass) WITH ORDINALITY AS k(oid, n)
                                 JOIN pg_opclass AS p ON p.oid = k.oid)))
          FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_am AS m ON m.oid = i.relam
         WHERE x.indrelid = c.oid
           AND NOT EXISTS (SELECT FROM pg_constraint AS o WHERE o.conindid = x.indexrelid AND o.conrelid = c.oid)),
       (SELECT jsonb_object_agg(t.tgname, t.tgenabled) FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN unnest(%s::text[], %s::text[]) AS wanted(nspname, relname) ON wanted.nspname = n.nspname AND wanted.relname = c.relname;
