"""The web page: what is live, since when, is it well, and how to go back. Read only.

`look` asks the servers, `view` makes of it what is shown (pure), `app` answers requests, `templates` and `static` are
its looks. It must not change anything, and needs no network but the environment's own servers.
"""
