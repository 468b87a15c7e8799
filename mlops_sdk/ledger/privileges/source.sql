-- In database source: what is read by builders, through a role that can do nothing else.
REVOKE ALL ON DATABASE mlflow, source FROM PUBLIC;
GRANT CONNECT ON DATABASE source TO source_reader, source_owner;
ALTER SCHEMA public OWNER TO source_owner;
GRANT USAGE ON SCHEMA public TO source_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO source_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE source_owner IN SCHEMA public GRANT SELECT ON TABLES TO source_reader;
