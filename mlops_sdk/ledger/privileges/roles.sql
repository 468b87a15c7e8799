-- The roles of an environment, once a server. Run as the administrator, in any database.
-- Five log in, each with a password of its own; the others own, carry, or have members.
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'mlflow', 'source_owner', 'source_reader', 'sdk', 'sdk_reader',
        'ledger_owner', 'sdk_owner', 'sdk_app', 'sdk_carry', 'sdk_builder'
    ] LOOP
        IF to_regrole(role_name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
END $$;
ALTER ROLE mlflow LOGIN;
ALTER ROLE source_owner LOGIN;
ALTER ROLE source_reader LOGIN;
-- It makes and drops the role of each release and of each build.
ALTER ROLE sdk LOGIN CREATEROLE;
-- A deployer that hangs inside a transaction must not outlive its lease.
ALTER ROLE sdk SET idle_in_transaction_session_timeout = '60s';
-- A person who looks at tables: it is granted nothing but reading, and that a release at a time.
ALTER ROLE sdk_reader LOGIN;
ALTER ROLE sdk_reader SET default_transaction_read_only = on;
ALTER ROLE sdk_reader SET idle_in_transaction_session_timeout = '10min';
-- Each build logs in as a role of its own. (In the first release this one did.)
ALTER ROLE sdk_builder NOLOGIN PASSWORD NULL;
