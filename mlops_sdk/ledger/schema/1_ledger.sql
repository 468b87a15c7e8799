-- The ledger of an environment, owned by ledger_owner, who is not the run-time role: nobody who deploys can
-- change what was written. What is declared in this folder is installed by the versions in ../migrations.

-- For an SDK of the first release, which reads it here; the version that counts is alembic's.
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
    unreferenced_at timestamptz,        -- since when nobody wants it: what retention counts from
    PRIMARY KEY (env, digest),
    UNIQUE (env, release),
    UNIQUE (env, seq),
    UNIQUE (pg_schema),
    UNIQUE (role)
);
