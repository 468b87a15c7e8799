"""Benches of releases' tables: `make bench-state` runs each against a durable Postgres of its own."""
