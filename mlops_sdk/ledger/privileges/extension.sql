-- In the release database: pgvector, by whom the provider lets install extensions. Without it, releases cannot
-- have columns of vectors; everything else works.
CREATE SCHEMA IF NOT EXISTS sdk_ext;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector SCHEMA sdk_ext;
    END IF;
END $$;
GRANT USAGE ON SCHEMA sdk_ext TO sdk, sdk_owner, sdk_app, sdk_carry, sdk_builder, sdk_reader;
