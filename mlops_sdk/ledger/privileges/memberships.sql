-- Who may act as whom, on Postgres 16 and later.
-- The administrator: to give these roles the databases and schemas below.
GRANT ledger_owner, sdk_owner, mlflow, source_owner TO CURRENT_USER WITH SET TRUE, INHERIT TRUE;
-- The SDK makes the objects of releases as their owner, and carries rows between releases.
GRANT sdk_owner TO sdk WITH SET TRUE, INHERIT TRUE;
GRANT sdk_carry TO sdk WITH SET TRUE, INHERIT FALSE;
-- It hands these roles on, to each release and to each build.
GRANT sdk_app, sdk_builder TO sdk WITH ADMIN TRUE, SET FALSE, INHERIT FALSE;
-- Welcome, not needed: it shows what a stranger who blocks a cutover is doing. His pid and role are seen without.
DO $$
BEGIN
    GRANT pg_read_all_stats TO sdk;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'sdk is not granted pg_read_all_stats';
END $$;
