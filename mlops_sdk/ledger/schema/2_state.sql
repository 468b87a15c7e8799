-- What the store holds. Run as ledger_owner. Every statement may run again.

-- Physical tables of derived tables, by fingerprint. Sealed ones never change.
CREATE TABLE IF NOT EXISTS mlops.physical (
    fingerprint text PRIMARY KEY,
    table_name text NOT NULL,
    physical text NOT NULL UNIQUE,      -- name in schema store once sealed
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'building', 'loaded', 'sealed')),
    attempt int NOT NULL DEFAULT 0,     -- fences: only the highest one may write
    until timestamptz,                  -- a builder that reported is alive until then
    rows bigint NOT NULL DEFAULT 0,
    cursor text,                        -- where the builder goes on after a kill
    spec jsonb NOT NULL,                -- the declaration
    inputs jsonb NOT NULL,              -- what the fingerprint was made of
    built_for text NOT NULL,            -- tag of the release that asked for it first
    sealed_at timestamptz
);

-- Logical forked tables. `source` is the fork that holds the truth: the one that was written last.
CREATE TABLE IF NOT EXISTS mlops.forked (
    env text NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,                 -- [[column, type], ...]: the same in every fork
    source int,
    PRIMARY KEY (env, table_name)
);

-- Forks: one real table a release and forked table. All of them are targets of the change log.
CREATE TABLE IF NOT EXISTS mlops.fork (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    env text NOT NULL,
    digest text NOT NULL,
    table_name text NOT NULL,
    pg_schema text NOT NULL,            -- where the table is now: staging, then the release's
    state text NOT NULL CHECK (state IN ('copying', 'following', 'stale')),
    changes bigint NOT NULL DEFAULT 0,  -- rows that were changed in this fork by others than the carry
    changes_at_live bigint NOT NULL DEFAULT 0,
    UNIQUE (env, digest, table_name),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding,
    FOREIGN KEY (env, table_name) REFERENCES mlops.forked
);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'forked_source_fkey' AND conrelid = 'mlops.forked'::regclass) THEN
        ALTER TABLE mlops.forked ADD CONSTRAINT forked_source_fkey FOREIGN KEY (source) REFERENCES mlops.fork (id);
    END IF;
END $$;

-- Shared tables: the declaration as expanded so far.
CREATE TABLE IF NOT EXISTS mlops.shared_table (
    table_name text PRIMARY KEY,
    spec jsonb NOT NULL
);

-- Which release uses which physical table or fork. A row here is the reservation that the janitor respects.
CREATE TABLE IF NOT EXISTS mlops.release_table (
    env text NOT NULL,
    digest text NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('derived', 'forked', 'shared')),
    fingerprint text REFERENCES mlops.physical,
    PRIMARY KEY (env, digest, table_name),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding,
    CONSTRAINT derived_has_fingerprint CHECK ((kind = 'derived') = (fingerprint IS NOT NULL))
);

-- A builder reports progress; the answer is false when a later attempt has taken over. It is a function so
-- that the builder's role needs no right on the table.
CREATE OR REPLACE FUNCTION mlops.build_progress(
    fp text, my_attempt int, more_rows bigint, next_cursor text, new_state text, alive_s int
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF new_state NOT IN ('building', 'loaded') THEN
        RAISE EXCEPTION 'a builder cannot set state %', new_state;
    END IF;
    UPDATE mlops.physical AS p
       SET state = new_state, rows = p.rows + more_rows, cursor = coalesce(next_cursor, p.cursor),
           until = clock_timestamp() + make_interval(secs => alive_s)
     WHERE p.fingerprint = fp AND p.attempt = my_attempt AND p.state IN ('wanted', 'building');
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION mlops.build_progress FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.build_progress TO sdk_builder;

-- What a builder may know about a build: its cursor and rows.
CREATE OR REPLACE VIEW mlops.build_view AS
    SELECT fingerprint, attempt, state, rows, cursor, spec FROM mlops.physical WHERE state <> 'sealed';
GRANT SELECT ON mlops.build_view TO sdk_builder;
