-- What releases with complete state need on top of the first release's control tables. Run as ledger_owner.

-- An SDK of the first release looks here, and refuses to work with what it does not know.
INSERT INTO mlops.schema_version (version) VALUES (2);

-- Since when nobody wants a release; what a table's retention counts from.
ALTER TABLE mlops.binding ADD COLUMN unreferenced_at timestamptz;
GRANT UPDATE (unreferenced_at) ON mlops.binding TO sdk;
ALTER TABLE mlops.physical ADD COLUMN keep_until timestamptz;

-- A person's predictions are found, and erased.
CREATE INDEX prediction_log_entity ON mlops.prediction_log (entity);
GRANT DELETE ON mlops.prediction_log TO sdk;

-- Policies but carry, and shifts of entities.
ALTER TABLE mlops.fork
    ADD COLUMN lived boolean NOT NULL DEFAULT false, ADD COLUMN replayed text, ADD COLUMN generation int,
    ADD COLUMN round int NOT NULL DEFAULT 0;

-- A shift of entities on its way: so many of 256 buckets are written in release `digest`. In force only while
-- the pointer has this epoch; no row, no shift.
CREATE TABLE mlops.weight (
    env text PRIMARY KEY REFERENCES mlops.pointer,
    digest text NOT NULL,
    weight int NOT NULL CHECK (weight BETWEEN 1 AND 256),
    epoch bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding
);

-- Rows that a cutover left behind as their table's policy says: each as the release that was left has it, null
-- if it had deleted it. `n` is the ledger entry of the cutover.
CREATE TABLE mlops.loss (
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
CREATE INDEX loss_entry ON mlops.loss (env, n);

-- Releases that the janitor keeps whatever else it thinks.
CREATE TABLE mlops.pin (
    env text NOT NULL,
    digest text NOT NULL,
    reason text NOT NULL,
    who text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (env, digest, reason),
    FOREIGN KEY (env, digest) REFERENCES mlops.binding
);
GRANT SELECT ON mlops.weight, mlops.loss, mlops.pin TO sdk;
GRANT INSERT, DELETE ON mlops.loss, mlops.pin TO sdk;
GRANT INSERT, UPDATE, DELETE ON mlops.weight TO sdk;

-- Each attempt at a build has a role of its own, which fills one table and may do nothing else.
ALTER TABLE mlops.physical
    ADD COLUMN starter_env text, ADD COLUMN starter_epoch bigint, ADD COLUMN builder text,
    ADD COLUMN attempt_table text, ADD COLUMN finish text[] NOT NULL DEFAULT '{}', ADD COLUMN total bigint,
    ADD COLUMN checksum numeric;
-- A build of the first release that was cut off goes on; one that was loaded has no checksum and begins anew.
UPDATE mlops.physical
   SET attempt_table = 'b_' || left(table_name, 24) || '_' || fingerprint || '_' || attempt,
       until = NULL, cursor = CASE state WHEN 'building' THEN cursor END, state = 'wanted'
 WHERE state <> 'sealed' AND attempt > 0;
DROP FUNCTION IF EXISTS mlops.build_progress(text, int, bigint, text, text, int);
CREATE OR REPLACE FUNCTION mlops.build_progress(
    more_rows bigint, next_cursor text, expected bigint, alive_s int
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE mlops.physical AS p
       SET state = 'building', rows = p.rows + more_rows, cursor = coalesce(next_cursor, p.cursor),
           total = coalesce(expected, p.total), until = clock_timestamp() + make_interval(secs => alive_s)
     WHERE p.builder = session_user AND p.state IN ('wanted', 'building');
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION mlops.build_progress FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mlops.build_progress TO sdk_builder;

-- What a builder may know: its own attempt. (Columns have changed since the first version, hence the DROP.)
DROP VIEW IF EXISTS mlops.build_view;
CREATE VIEW mlops.build_view AS
    SELECT fingerprint, attempt, state, rows, cursor, spec FROM mlops.physical WHERE builder = session_user;
GRANT SELECT ON mlops.build_view TO sdk_builder;

GRANT USAGE ON SCHEMA mlops TO sdk_owner;
GRANT SELECT, UPDATE (state, rows, checksum, until) ON mlops.physical TO sdk_owner;

SET LOCAL ROLE sdk_owner;

-- Logs of forked tables and the keys that wait: names that no key has, rounds, and what the carry may read.
DO $$
DECLARE
    name text;
    key record;
BEGIN
    FOR name IN SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
                 WHERE c.relnamespace = 'store'::regnamespace AND c.relname LIKE 'log\_%' AND a.attname = 'src' AND c.relkind = 'r'
                   AND c.relowner = 'sdk_owner'::regrole
    LOOP
        EXECUTE format('ALTER TABLE store.%I RENAME COLUMN src TO mlops_src', name);
        EXECUTE format('ALTER TABLE store.%I SET (autovacuum_vacuum_scale_factor = 0,'
                       ' autovacuum_vacuum_threshold = 5000)', name);
    END LOOP;
    FOR name IN SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
                 WHERE c.relnamespace = 'store'::regnamespace AND c.relname LIKE 'pending\_%'
                   AND a.attname = 'target' AND c.relkind = 'r' AND c.relowner = 'sdk_owner'::regrole
    LOOP
        EXECUTE format('ALTER TABLE store.%I RENAME COLUMN target TO mlops_target', name);
        EXECUTE format('ALTER TABLE store.%I ADD COLUMN mlops_round int NOT NULL DEFAULT 0', name);
        EXECUTE format('ALTER TABLE store.%I ALTER COLUMN mlops_round DROP DEFAULT', name);
        SELECT conname, pg_get_constraintdef(oid) AS definition INTO key FROM pg_constraint
         WHERE conrelid = format('store.%I', name)::regclass AND contype = 'p';
        EXECUTE format('ALTER TABLE store.%I DROP CONSTRAINT %I', name, key.conname);
        EXECUTE format('ALTER TABLE store.%I ADD CONSTRAINT %I %s', name, key.conname,
                       replace(key.definition, '(mlops_target,', '(mlops_target, mlops_round,'));
        EXECUTE format('ALTER TABLE store.%I SET (autovacuum_vacuum_scale_factor = 0,'
                       ' autovacuum_vacuum_threshold = 5000)', name);
        EXECUTE format('GRANT SELECT ON store.%I TO sdk_carry', name);
    END LOOP;
END $$;

-- In the first release all builds were one role, and what it might read only ever grew.
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT oid FROM pg_class
                 WHERE relnamespace = 'store'::regnamespace AND relkind = 'r' AND relowner = 'sdk_owner'::regrole
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM sdk_builder', name);
    END LOOP;
END $$;

-- The number of rows of a table and a checksum that does not depend on their order: the sum of a 64-bit hash
-- of each row's text. The settings fix the spelling of dates, floats and bytes.
CREATE OR REPLACE FUNCTION store.table_checksum(name regclass, OUT rows bigint, OUT checksum numeric)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, sdk_ext, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' SET xmloption = 'content'
AS $$
BEGIN
    -- EXECUTE, so that it may run in parallel; ROW(t.*), because a column may be named t.
    EXECUTE format(
        'SELECT count(*), coalesce(sum(hashtextextended(ROW(t.*)::text, 0)::numeric), 0) FROM %s AS t', name
    ) INTO rows, checksum;
END $$;
REVOKE ALL ON FUNCTION store.table_checksum FROM PUBLIC;

-- The end of the caller's own attempt, in one transaction: nobody may write to its table any more, keys and
-- indexes are made, rows are counted and summed, and the build is `loaded`. The lock waits for every
-- transaction that has written; one that comes later finds no right to write. So what is counted here is what
-- is sealed. A builder has no more than INSERT: as the table's owner it could plant triggers.
-- False when the attempt is no longer the current one.
--
-- maintenance_work_mem: an HNSW graph of 100,000 vectors of 384 floats fits; a larger one is built too, slower
-- (two builds at once must leave memory to the services). Two workers beside the leader: what is left of
-- max_parallel_workers (8) serves others.
CREATE OR REPLACE FUNCTION store.build_finish(alive_s int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, sdk_ext, pg_temp
SET maintenance_work_mem = '256MB' SET max_parallel_maintenance_workers = 2
AS $$
DECLARE
    mine record;
    statement text;
    found_rows bigint;
    batched_rows bigint;
    found_checksum numeric;
BEGIN
    SELECT p.finish, p.attempt_table INTO mine FROM mlops.physical AS p
     WHERE p.builder = session_user AND p.state IN ('wanted', 'building');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE store.%I IN SHARE ROW EXCLUSIVE MODE', mine.attempt_table);
    EXECUTE format('REVOKE ALL ON store.%I FROM %I', mine.attempt_table, session_user);
    FOREACH statement IN ARRAY mine.finish LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('ANALYZE store.%I', mine.attempt_table);
    SELECT c.rows, c.checksum INTO found_rows, found_checksum
      FROM store.table_checksum(format('store.%I', mine.attempt_table)::regclass) AS c;
    SELECT p.rows INTO batched_rows FROM mlops.physical AS p WHERE p.builder = session_user;
    IF found_rows <> batched_rows THEN
        RAISE EXCEPTION 'the table has % rows, its batches had %', found_rows, batched_rows
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE mlops.physical AS p
       SET state = 'loaded', rows = found_rows, checksum = found_checksum,
           until = clock_timestamp() + make_interval(secs => alive_s)
     WHERE p.builder = session_user AND p.state IN ('wanted', 'building');
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION store.build_finish FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store.build_finish TO sdk_builder;

SET LOCAL ROLE ledger_owner;
