"""Is a release fit to serve: gates, each asked of the release's own service, never through the router.

`checks`, `traffic` and `metrics` are pure; `service`, `command` and `predictions` ask. Nothing here changes anything
but `reverify`: what it finds becomes an entry of the ledger.
"""
