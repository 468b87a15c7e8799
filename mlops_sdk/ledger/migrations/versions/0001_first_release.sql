-- What the first release installed, as it was. Run as ledger_owner. Never change it.

-- The ledger of an environment. Run as ledger_owner, who is not the run-time role: nobody who deploys can
-- change what was written. Every statement may run again.

CREATE TABLE IF NOT EXISTS mlops.schema_version (
    version int PRIMARY KEY,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Entries form one hash chain an environment. `prev` and the foreign key make Postgres refuse a fork, a gap
-- and a wrong hash; `body` holds the canonical bytes that were hashed, and the columns must agree with it.
CREATE TABLE IF NOT EXISTS mlops.entry (
    env text NOT NULL,
    n bigint NOT NULL CHECK (n >= 1),
    prev bigint GENERATED ALWAYS AS (n - 1) STORED,
    prev_hash text,
    hash text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    digest text,
    epoch bigint,                       -- of the pointer; only what moved it has one
    body bytea NOT NULL,
    PRIMARY KEY (env, n),
    UNIQUE (env, n, hash),
    UNIQUE (env, n, digest),
    FOREIGN KEY (env, prev, prev_hash) REFERENCES mlops.entry (env, n, hash),
    CONSTRAINT only_the_first_has_no_predecessor CHECK ((n = 1) = (prev_hash IS NULL)),
    CONSTRAINT hash_is_of_body CHECK (hash = 'sha256:' || encode(sha256(body), 'hex')),
    CONSTRAINT columns_agree_with_body CHECK (
        convert_from(body, 'UTF8')::jsonb @> jsonb_build_object('environment', env, 'n', n, 'kind', kind)
        AND (convert_from(body, 'UTF8')::jsonb ->> 'digest') IS NOT DISTINCT FROM digest
        AND (convert_from(body, 'UTF8')::jsonb ->> 'prev_hash') IS NOT DISTINCT FROM prev_hash
        AND (convert_from(body, 'UTF8')::jsonb ->> 'at')::timestamptz = at
        AND (convert_from(body, 'UTF8')::jsonb ->> 'epoch')::bigint IS NOT DISTINCT FROM epoch
    ),
    CONSTRAINT only_live_moves_the_pointer CHECK ((kind = 'live') = (epoch IS NOT NULL)),
    CONSTRAINT live_names_a_release CHECK (kind <> 'live' OR digest IS NOT NULL)
);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_entry_an_epoch ON mlops.entry (env, epoch);
CREATE INDEX IF NOT EXISTS entry_at ON mlops.entry (env, at);

-- What is live: one row an environment, hence one live release. Both columns of the reference are null before
-- the first release.
CREATE TABLE IF NOT EXISTS mlops.pointer (
    env text PRIMARY KEY,
    digest text,
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    entry bigint,
    FOREIGN KEY (env, entry, digest) REFERENCES mlops.entry (env, n, digest),
    CONSTRAINT all_or_none CHECK ((digest IS NULL) = (entry IS NULL) AND (digest IS NULL) = (epoch = 0))
);

-- One deployer an environment. `epoch` rises with each holder; a write that carries an older one is refused.
CREATE TABLE IF NOT EXISTS mlops.lease (
    env text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT 'epoch',
    since timestamptz,
    who text,
    host text,
    pid int,                            -- of the deploying process on `host`
    started_at timestamptz,             -- of that process, so that a reused pid is not taken for it
    process_group int,                  -- of its engine
    backend_pid int,                    -- of the connection that keeps it
    backend_start timestamptz
);

-- Locks by digest, as the canonical bytes that the digest covers.
CREATE TABLE IF NOT EXISTS mlops.lock (
    digest text PRIMARY KEY,
    body bytea NOT NULL,
    CONSTRAINT digest_is_of_body CHECK (digest = 'sha256:' || encode(sha256(body), 'hex'))
);

-- A release in an environment: bound once, for good.
CREATE TABLE IF NOT EXISTS mlops.binding (
    env text NOT NULL,
    digest text NOT NULL REFERENCES mlops.lock,
    release text NOT NULL,
    seq int NOT NULL CHECK (seq >= 1),
    pg_schema text NOT NULL CHECK (octet_length(pg_schema) <= 63),
    role text NOT NULL CHECK (octet_length(role) <= 63),
    service_port int NOT NULL CHECK (service_port BETWEEN 1 AND 65535),
    fingerprints jsonb NOT NULL DEFAULT '{}',
    watermarks jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'bound' CHECK (status IN ('bound', 'cut', 'unreferenced', 'retired')),
    bound_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (env, digest),
    UNIQUE (env, release),
    UNIQUE (env, seq),
    UNIQUE (pg_schema),
    UNIQUE (role)
);

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

-- What every release may use. Run as ledger_owner. Every statement may run again.

CREATE TABLE IF NOT EXISTS mlops.prediction_log (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_id text NOT NULL,
    entity text,                        -- TABLE:KEY as given by the service
    release_digest text NOT NULL,
    slot text NOT NULL,
    model text NOT NULL,
    model_version int NOT NULL,
    input jsonb NOT NULL,
    output jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS prediction_log_at ON mlops.prediction_log (at);
CREATE INDEX IF NOT EXISTS prediction_log_request ON mlops.prediction_log (request_id);

CREATE OR REPLACE VIEW mlops.pointer_view AS SELECT env AS environment, digest, epoch FROM mlops.pointer;

GRANT USAGE ON SCHEMA mlops TO sdk, sdk_app, sdk_carry, sdk_builder, sdk_owner;
GRANT SELECT ON mlops.pointer_view TO sdk_app;
GRANT INSERT ON mlops.prediction_log TO sdk_app;
GRANT SELECT ON mlops.fork, mlops.forked TO sdk_carry;

GRANT SELECT ON ALL TABLES IN SCHEMA mlops TO sdk;
-- Append-only: no UPDATE, no DELETE, no TRUNCATE.
GRANT INSERT ON mlops.entry, mlops.lock, mlops.binding TO sdk;
GRANT UPDATE (status) ON mlops.binding TO sdk;
GRANT INSERT, UPDATE ON mlops.pointer, mlops.lease TO sdk;
GRANT INSERT, UPDATE, DELETE ON mlops.physical, mlops.forked, mlops.fork, mlops.shared_table, mlops.release_table TO sdk;

INSERT INTO mlops.schema_version (version) VALUES (1);
