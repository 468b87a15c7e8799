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
CREATE INDEX IF NOT EXISTS prediction_log_entity ON mlops.prediction_log (entity);  -- a person is erased by it

CREATE OR REPLACE VIEW mlops.pointer_view AS SELECT env AS environment, digest, epoch FROM mlops.pointer;

GRANT USAGE ON SCHEMA mlops TO sdk, sdk_app, sdk_carry, sdk_builder, sdk_owner;
GRANT SELECT ON mlops.pointer_view TO sdk_app;
GRANT INSERT ON mlops.prediction_log TO sdk_app;
GRANT SELECT ON mlops.fork, mlops.forked TO sdk_carry;

GRANT SELECT ON ALL TABLES IN SCHEMA mlops TO sdk;
-- Append-only: no UPDATE, no DELETE, no TRUNCATE.
GRANT INSERT ON mlops.entry, mlops.lock, mlops.binding TO sdk;
GRANT UPDATE (status, unreferenced_at) ON mlops.binding TO sdk;
GRANT INSERT, UPDATE ON mlops.pointer, mlops.lease TO sdk;
GRANT INSERT, DELETE ON mlops.loss, mlops.pin TO sdk;
GRANT INSERT, UPDATE, DELETE ON mlops.weight, mlops.physical, mlops.forked, mlops.fork, mlops.shared_table, mlops.release_table TO sdk;
GRANT DELETE ON mlops.prediction_log TO sdk;  -- `mlops state erase`
