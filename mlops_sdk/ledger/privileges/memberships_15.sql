-- Who may act as whom, on Postgres 15, where CREATEROLE alone permits the SDK to hand sdk_app and sdk_builder on.
-- The administrator: to give these roles the databases and schemas below.
GRANT ledger_owner, sdk_owner, mlflow, source_owner TO CURRENT_USER;
-- The SDK makes the objects of releases as their owner, and carries rows between releases.
GRANT sdk_owner, sdk_carry TO sdk;
-- Welcome, not needed: it shows what a stranger who blocks a cutover is doing. His pid and role are seen without.
DO $$
BEGIN
    GRANT pg_read_all_stats TO sdk;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'sdk is not granted pg_read_all_stats';
END $$;
