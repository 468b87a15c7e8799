-- In the release database: pgvector, by whom the provider lets install extensions. On a server that has none,
-- releases cannot have columns of vectors; everything else works.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector SCHEMA sdk_ext;
    END IF;
END $$;
