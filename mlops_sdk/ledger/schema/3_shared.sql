-- What every release may use. Run as ledger_owner. Every statement may run again.

CREATE TABLE IF NOT EXISTS mlops.prediction_log (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    request_id text NOT NULL,
    entity text,                        -- TABLE:KEY as given by the service
    release_digest text,                -- null: a model server that serves no release
    slot text NOT NULL,
    model text NOT NULL,
    model_version int NOT NULL,
    input jsonb NOT NULL,
    output jsonb NOT NULL
) PARTITION BY RANGE (at);
-- Where rows go for whose day nobody has made a table: a log must never refuse.
CREATE TABLE IF NOT EXISTS mlops.prediction_log_rest PARTITION OF mlops.prediction_log DEFAULT;
CREATE INDEX IF NOT EXISTS prediction_log_at ON mlops.prediction_log (at);
CREATE INDEX IF NOT EXISTS prediction_log_request ON mlops.prediction_log (request_id);
CREATE INDEX IF NOT EXISTS prediction_log_entity ON mlops.prediction_log (entity);  -- a person is erased by it

-- Make the tables of today and tomorrow (days of UTC), with what is already in the rest of them. Whoever writes the log
-- calls it: true when both are there afterwards. It waits 2 s for a reader of the rest, then leaves it for the next call.
CREATE OR REPLACE FUNCTION mlops.prediction_log_days() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
    day date;
    name text;
    -- An upgraded log has one table for all days up to that of the upgrade.
    before timestamptz := (SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''([^'']+)''\)')
                             FROM pg_class WHERE oid = to_regclass('mlops.prediction_log_first'));
BEGIN
    FOR day IN SELECT current_date + n FROM generate_series(0, 1) AS n LOOP
        name := 'prediction_log_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('mlops.' || name) IS NOT NULL OR day + 1 <= before;
        PERFORM pg_advisory_xact_lock(20261127);
        CONTINUE WHEN to_regclass('mlops.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE mlops.%I (LIKE mlops.prediction_log INCLUDING DEFAULTS)', name);
        LOCK TABLE mlops.prediction_log_rest IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM mlops.prediction_log_rest WHERE at >= %L AND at < %L'
            ' RETURNING at, request_id, entity, release_digest, slot, model, model_version, input, output)'
            ' INSERT INTO mlops.%I (at, request_id, entity, release_digest, slot, model, model_version, input, output)'
            ' SELECT * FROM moved', day, day + 1, name);
        -- ATTACH, not PARTITION OF: it lets others write to other days meanwhile.
        EXECUTE format(
            'ALTER TABLE mlops.prediction_log ATTACH PARTITION mlops.%I FOR VALUES FROM (%L) TO (%L)',
            name, day, day + 1);
    END LOOP;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
REVOKE ALL ON FUNCTION mlops.prediction_log_days FROM PUBLIC;

-- Drop the tables of days that ended more than so many days ago, oldest first; their names. It waits 2 s for a reader.
CREATE OR REPLACE FUNCTION mlops.prediction_log_forget(keep_days int) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
    name text;
    oldest timestamptz := current_date - keep_days;
BEGIN
    IF keep_days < 1 THEN
        RAISE EXCEPTION 'the log of today is kept' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR name IN SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'mlops.prediction_log'::regclass
                   AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz <= oldest
                 ORDER BY 1
    LOOP
        EXECUTE format('DROP TABLE mlops.%I', name);
        RETURN NEXT name;
    END LOOP;
    DELETE FROM mlops.prediction_log_rest WHERE at < oldest;
END $$;
REVOKE ALL ON FUNCTION mlops.prediction_log_forget FROM PUBLIC;

CREATE OR REPLACE VIEW mlops.pointer_view AS SELECT env AS environment, digest, epoch FROM mlops.pointer;

GRANT USAGE ON SCHEMA mlops TO sdk, sdk_app, sdk_carry, sdk_builder, sdk_owner;
GRANT SELECT ON mlops.pointer_view TO sdk_app;
GRANT INSERT ON mlops.prediction_log TO sdk_app;
GRANT EXECUTE ON FUNCTION mlops.prediction_log_days TO sdk_app, sdk;
GRANT EXECUTE ON FUNCTION mlops.prediction_log_forget TO sdk;
GRANT SELECT ON mlops.fork, mlops.forked TO sdk_carry;

GRANT SELECT ON ALL TABLES IN SCHEMA mlops TO sdk;
-- Append-only: no UPDATE, no DELETE, no TRUNCATE.
GRANT INSERT ON mlops.entry, mlops.lock, mlops.binding TO sdk;
GRANT UPDATE (status, unreferenced_at) ON mlops.binding TO sdk;
GRANT INSERT, UPDATE ON mlops.pointer, mlops.lease TO sdk;
GRANT INSERT, DELETE ON mlops.loss, mlops.pin TO sdk;
GRANT INSERT, UPDATE, DELETE ON mlops.weight, mlops.physical, mlops.forked, mlops.fork, mlops.shared_table, mlops.release_table TO sdk;
GRANT DELETE ON mlops.prediction_log TO sdk;  -- `mlops state erase`
