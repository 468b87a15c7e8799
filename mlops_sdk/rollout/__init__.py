"""From a lock to a live release and back: plan, explain, apply, verify.

`plan` and `explain` are pure. What talks to servers is `observe`, `apply` and `verify`; `session` is the one place
that wires a project, an environment and their servers together. Nothing here knows of terminals: progress
goes to a callable that the caller gives.
"""

import logging

# A retry is no news to a person who waits, only to whoever set logging up: what fails in the end is raised.
logging.getLogger("stamina").addHandler(logging.NullHandler())
