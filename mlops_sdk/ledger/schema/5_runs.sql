-- Runs of jobs: one for each job and date, with their logs. Run as ledger_owner. Every statement may run again.

CREATE TABLE IF NOT EXISTS mlops.run (
    id uuid PRIMARY KEY,                -- follows from app, environment, job and date: they need no unique index
    job text NOT NULL,
    run_date date NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'done', 'failed')),
    release_digest text NOT NULL,       -- of the release that was asked, then of the one that ran it
    attempt int NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,             -- of the last attempt
    heartbeat_at timestamptz,           -- while running: old when the consumer was killed
    ended_at timestamptz,
    progress double precision CHECK (progress BETWEEN 0 AND 1),
    note text,
    result jsonb,
    cause text                          -- why the last attempt failed
);
-- What a run's attempts wrote to standard output and standard error, by line.
CREATE TABLE IF NOT EXISTS mlops.run_log (
    run uuid NOT NULL REFERENCES mlops.run ON DELETE CASCADE,
    n bigint GENERATED ALWAYS AS IDENTITY,
    attempt int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    line text NOT NULL,
    PRIMARY KEY (run, n)
);
GRANT SELECT, INSERT, UPDATE ON mlops.run TO sdk_app;
GRANT SELECT, INSERT ON mlops.run_log TO sdk_app;
GRANT SELECT ON mlops.run, mlops.run_log TO sdk;
