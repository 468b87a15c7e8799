-- Filling a fork.

-- name: begin
-- Whatever a fork was before, its rows are the live one's from now on: it is carried to, as a new one is.
UPDATE mlops.fork SET state = 'copying', lived = false, replayed = NULL, generation = NULL WHERE id = ANY(%s);

-- name: blocks
-- Asked after the snapshot was taken: no row that it sees is in a later block.
SELECT pg_relation_size(to_regclass(format('%%I.%%I', %s::text, %s::text))) / current_setting('block_size')::int;

-- name: rows
INSERT INTO {fork} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns} FROM {source} AS s WHERE s.ctid >= {first}::tid AND s.ctid < {end}::tid AND {owned};

-- name: one_core
-- An index is made by one process: its helpers would take the processors from those who write to the live release.
SET LOCAL max_parallel_maintenance_workers = 0;

-- name: is_indexed
SELECT EXISTS (SELECT FROM pg_constraint
                WHERE conrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND contype = 'p');

-- name: follow
UPDATE mlops.fork SET state = 'following' WHERE id = ANY(%s) AND state = 'copying';
