"""From a lock to a live release and back: plan, explain, apply, verify.

A folder imports only from those after it (pyproject.toml holds it to that): `agent` and `events` act by themselves,
`promote` and `deploy` are the ways of a release, `apply` does what a plan says, `doctor` and `questions` look,
`observed` and `verify` say what is there and whether it is fit, `locking` resolves a manifest, `environment` opens what
is up, `plan` is pure. Nothing here knows of terminals: progress goes to a callable that the caller gives.
"""

import logging

# A retry is no news to a person who waits, only to whoever set logging up: what fails in the end is raised.
logging.getLogger("stamina").addHandler(logging.NullHandler())
