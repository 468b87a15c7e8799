-- Filling a fork.

-- name: begin
-- Whatever a fork was before, its rows are the live one's from now on: it is carried to, as a new one is.
UPDATE mlops.fork SET state = 'copying', lived = false, replayed = NULL, generation = NULL WHERE id = ANY(%s);

-- name: rows
INSERT INTO {fork} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {source} AS s WHERE {owned};

-- name: is_indexed
SELECT EXISTS (SELECT FROM pg_constraint
                WHERE conrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND contype = 'p');

-- name: follow
UPDATE mlops.fork SET state = 'following' WHERE id = ANY(%s) AND state = 'copying';
