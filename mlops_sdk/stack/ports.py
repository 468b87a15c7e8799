"""Chooses TCP ports of 127.0.0.1 for servers that are to be started.

Must not start anything: who listens on a port is `platform.ports`' to say.
"""

import secrets
import socket
from collections.abc import Set
from contextlib import ExitStack

from mlops_sdk.errors import MlopsError

# Above those of a Kubernetes node. Below the range of outgoing connections and of whoever leaves the choice to the
# system: one of those could sit on a port of ours before its server is up, or while it is down.
_RANGE = range(20_000, 32_000)


def free_ports(count: int, taken: Set[int] = frozenset(), *, in_a_row: int = 1) -> tuple[int, ...]:
    """`count` different ports that nobody listens on now, and none of `taken`.

    Of each, the `in_a_row` - 1 ports after it are free too, and go with it. Raises MlopsError where there are fewer.
    """
    with ExitStack() as stack:
        found: list[int] = []
        for port in secrets.SystemRandom().sample(_RANGE, len(_RANGE)):
            if len(found) == count:
                return tuple(found)
            row = range(port, port + in_a_row)
            if taken.isdisjoint(row) and all(_bound(stack, one) for one in row):
                found.append(port)
    raise MlopsError(
        f"of the ports {_RANGE.start} to {_RANGE.stop - 1} of 127.0.0.1 fewer than {count} are free"
        + (f" with the {in_a_row - 1} after them" if in_a_row > 1 else ""),
        remedy="end servers that nobody needs: `mlops down` those of an environment",
    )


def _bound(stack: ExitStack, port: int) -> bool:
    """Whether nobody listens on the port; then it is held until `stack` ends, and is none of who asks next."""
    listener = stack.enter_context(socket.socket())
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
