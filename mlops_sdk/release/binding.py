"""The binding: a release in one environment. Kept in the ledger; it never changes the release's digest."""

from pydantic import Field

from mlops_sdk.release.value import Value

PORTS = 2
"""How many ports in a row a binding takes: the service's, and after it the invoker's."""


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

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port on 127.0.0.1 that belongs to the release, whether somebody listens or not."""
        return ports(self.service_port)


def ports(service_port: int) -> tuple[int, ...]:
    """The ports of a release whose service has this one."""
    return tuple(range(service_port, service_port + PORTS))


def invoker_port(service_port: int) -> int:
    """The port of the invoker: a function of the service's, so that a binding from before there was one has it too."""
    return service_port + 1


def scratch_name(pg_schema: str) -> str:
    """The schema in which a release's jobs in SQL write, and the role that owns what they wrote; at most 49 bytes."""
    return f"{pg_schema}_scratch"
