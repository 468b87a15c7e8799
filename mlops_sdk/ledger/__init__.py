"""The ledger: what was intended, live and observed in an environment, kept in its Postgres.

Entries, pointer, lease, bindings and locks, with their constraints in the database. This package must not
know tables of a release, traffic or Pulumi.
"""
