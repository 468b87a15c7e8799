-- What the store holds. Run as ledger_owner. Every statement may run again.

-- Physical tables of derived tables, by fingerprint. Sealed ones never change.
CREATE TABLE IF NOT EXISTS mlops.physical (
    fingerprint text PRIMARY KEY,
    table_name text NOT NULL,
    physical text NOT NULL UNIQUE,      -- name in schema store once sealed
    state text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'building', 'loaded', 'sealed')),
    attempt int NOT NULL DEFAULT 0,     -- fences: only the highest one may write
    until timestamptz,                  -- a builder that reported is alive until then
    starter_env text,                   -- whose lease has begun the attempt: until the builder reports, that
    starter_epoch bigint,               -- lease is its life
    builder text,                       -- role of the current attempt; dropped with the seal
    attempt_table text,                 -- what that role fills, in schema store; renamed by the seal
    finish text[] NOT NULL DEFAULT '{}', -- statements that make keys and indexes after the load
    rows bigint NOT NULL DEFAULT 0,
    total bigint,                       -- rows to expect, if the builder said so
    checksum numeric,                   -- of all rows, in any order: see store.table_checksum
    cursor text,                        -- where the builder goes on after a kill
    spec jsonb NOT NULL,                -- the declaration
    inputs jsonb NOT NULL,              -- what the fingerprint was made of
    built_for text NOT NULL,            -- tag of the release that asked for it first
    sealed_at timestamptz,
    keep_until timestamptz              -- what releases that are gone have declared as its retention
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
    lived boolean NOT NULL DEFAULT false, -- was live since it was copied; policies but carry go by it
    replayed text,                      -- a pg_snapshot: which shared rows were replayed; null: it is carried to
    generation int,                     -- of the shared rows that `replayed` is about
    round int NOT NULL DEFAULT 0,       -- of the keys that wait for it: a new one when all were carried
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

-- A shift of entities on its way: so many of 256 buckets are written in release `digest`. In force only while
-- the pointer has this epoch; no row, no shift.
CREATE TABLE IF NOT EXISTS mlops.weight (
    env text PRIMARY KEY REFERENCES mlops.pointer,
    digest text NOT NULL,
    weight int NOT NULL CHECK (weight BETWEEN 1 AND 256),
    epoch bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding
);

-- Rows that a cutover left behind as their table's policy says: each as the release that was left has it, null
-- if it had deleted it. `n` is the ledger entry of the cutover.
CREATE TABLE IF NOT EXISTS mlops.loss (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    env text NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,
    row jsonb,
    n bigint NOT NULL,
    left_digest text NOT NULL,
    to_digest text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (env, n) REFERENCES mlops.entry
);
CREATE INDEX IF NOT EXISTS loss_entry ON mlops.loss (env, n);

-- Releases that the janitor keeps whatever else it thinks.
CREATE TABLE IF NOT EXISTS mlops.pin (
    env text NOT NULL,
    digest text NOT NULL,
    reason text NOT NULL,
    who text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (env, digest, reason),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding
);

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
