"""Locks for tests, without a registry or a git repository."""

from typing import Any

from mlops_sdk.release.lock import Lock, LockedCode, LockedModel, LockedState
from mlops_sdk.release.tables import TableSpec

_DIGEST = "sha256:" + "0" * 64


def make_lock(
    release: str = "v0.0.1",
    *,
    app: str = "app",
    tables: tuple[TableSpec, ...] = (),
    models: dict[str, LockedModel] | None = None,
    **fields: Any,
) -> Lock:
    """A lock with these tables; everything that it does not need is a constant."""
    values: dict[str, Any] = {
        "schema": 1,
        "release": release,
        "app": app,
        "code": LockedCode(ref="HEAD", commit="a" * 40, tree="b" * 40, dependencies=_DIGEST),
        "models": models or {},
        "state": LockedState(entry="app.tables:STATE", tables={t.name: t for t in tables})
        if tables
        else None,
        "manifest": _DIGEST,
        **fields,
    }
    return Lock(**values)
