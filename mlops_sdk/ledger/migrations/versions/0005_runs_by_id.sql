-- The id follows from job and date, so it alone is unique: of two unique indexes ON CONFLICT awaits one, and requests
-- at once failed on the other. Run as ledger_owner.

INSERT INTO mlops.schema_version (version) VALUES (5);

ALTER TABLE mlops.run DROP CONSTRAINT run_job_run_date_key;
