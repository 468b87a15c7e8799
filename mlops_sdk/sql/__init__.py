"""Models in SQL: reads a dbt project without running it, runs dbt in a child process, draws the lineage.

Who runs it decides what becomes of the tables: `state` seals them, `workload` merges them. This package must not know
releases, messages or the rules of state, and imports neither dbt nor sqlfmt into the caller's process.
"""
