-- In the release database: who may connect, and the schemas with their owners.
REVOKE ALL ON DATABASE :"app" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"app" TO sdk, sdk_app, sdk_builder, sdk_reader;
-- A release has a schema of its own.
GRANT CREATE ON DATABASE :"app" TO sdk_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS mlops AUTHORIZATION ledger_owner;
CREATE SCHEMA IF NOT EXISTS store AUTHORIZATION sdk_owner;
CREATE SCHEMA IF NOT EXISTS shared AUTHORIZATION sdk_owner;
CREATE SCHEMA IF NOT EXISTS sdk_keep AUTHORIZATION sdk_owner;
CREATE SCHEMA IF NOT EXISTS sdk_ext;
GRANT USAGE ON SCHEMA sdk_ext TO sdk, sdk_owner, sdk_app, sdk_carry, sdk_builder, sdk_reader;
GRANT USAGE ON SCHEMA shared TO sdk, sdk_app, sdk_carry;
GRANT USAGE ON SCHEMA store TO sdk_carry, sdk_builder;
-- (In the first release builders made their tables themselves.)
REVOKE CREATE ON SCHEMA store FROM sdk_builder;
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT oid FROM pg_class
                 WHERE relnamespace = 'store'::regnamespace AND relkind = 'r' AND relowner = 'sdk_builder'::regrole
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO sdk_owner', name);
    END LOOP;
END $$;
