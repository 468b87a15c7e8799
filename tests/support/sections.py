"""Release sections of stack config, made up: what the program knows of a release."""

from typing import Any

from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection


def a_section(number: int, **changes: Any) -> ReleaseSection:
    """The section of a release; `number` is its sequence number, and the first of its digest."""
    digest = f"sha256:{number:064x}"
    schema = f"rel_app_{number:06d}_{digest[7:15]}"
    values: dict[str, Any] = {
        "release": f"v0.0.{number}",
        "digest": f"sha256:{number}" + "a" * (64 - len(str(number))),
        "commit": "c" * 40,
        "environment": ".venvs/0123456789ab",
        "seq": number,
        "pg_schema": schema,
        "role": schema,
        "service_port": 22000 + number,
        "service": "app.service:create_app",
        "state": "app.tables:STATE",
        "models": {"m": {"name": "movie", "version": number, "digest": digest}},
        "parameters": {"candidates": 200},
    }
    return ReleaseSection(**(values | changes))


def digest12(number: int) -> str:
    """The first 12 digits of the digest of `a_section(number)`."""
    return short(a_section(number).digest)
