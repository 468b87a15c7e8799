"""One node a machine: who starts one claims its ports and its bridge first, and is told who has them.

Must not end a node that somebody else runs.
"""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlops_sdk.errors import PolicyError
from mlops_sdk.stack.engine import cache_root
from tools.cluster.node import ETCD, GATEWAY_PORT


@contextmanager
def claimed(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Have the machine's node for the length of a block. Raises PolicyError while another one runs."""
    root = cache_root(environ) / "cluster"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "node.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PolicyError("another test run has this machine's node", where=handle.name) from error
        for port in (int(ETCD.rpartition(":")[2]), GATEWAY_PORT):
            with socket.socket() as asked:
                asked.settimeout(2)
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    raise PolicyError(
                        f"a node runs on this machine already: somebody listens on port {port}",
                        remedy="`python -m tools.cluster down FOLDER` stops one that was started by hand.",
                    )
        yield
