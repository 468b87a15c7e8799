"""The binding: a release in one environment. Kept in the ledger; it never changes the release's digest."""

from pydantic import Field

from mlops_sdk.release.value import Value


class Binding(Value):
    """What an environment chose for a release when it was first bound there, for good.

    `seq` counts the releases bound in the environment from 1; `role` logs in and owns nothing; `service_port`
    is the service's own port on 127.0.0.1; `fingerprints` and `watermarks` are by table and by source.
    """

    environment: str
    digest: str
    release: str
    seq: int = Field(ge=1)
    pg_schema: str
    role: str
    service_port: int = Field(ge=1, le=65535)
    fingerprints: dict[str, str] = Field(default_factory=dict)
    watermarks: dict[str, str] = Field(default_factory=dict)


def scratch_name(pg_schema: str) -> str:
    """The schema in which a release's jobs in SQL write, and the role that owns what they wrote; at most 49 bytes."""
    return f"{pg_schema}_scratch"
