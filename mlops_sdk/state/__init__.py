"""The tables of a release in Postgres: declare, describe, fingerprint, build, fork, cut, carry,
read, erase and drop.

This package must not know traffic or Pulumi. Release code is imported only by `describe` and `build_flow`,
each in a process of the release's own checkout.
"""

from mlops_sdk.state.context import Batch, BuildContext
from mlops_sdk.state.declare import Derived, Entity, Forked, Rederive, Shared, Source, SqlModel, State
from mlops_sdk.state.reading import connect
from mlops_sdk.state.specs import check

__all__ = [
    "Batch",
    "BuildContext",
    "Derived",
    "Entity",
    "Forked",
    "Rederive",
    "Shared",
    "Source",
    "SqlModel",
    "State",
    "check",
    "connect",
]
