"""An environment seen from one of its own pods: variables are the process's own, servers are at their names.

The counterpart of `reach`: no kubeconfig, no forward. Must not write into the image's folders, which are read-only.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from mlops_sdk.cluster import kubeconfig
from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.platform.ports import LOOPBACK, is_free
from mlops_sdk.platform.reach import SERVICE_PORT, is_on_cluster
from mlops_sdk.platform.relay import relay

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Inside:
    """As `reach.Reach`: the API server by the pod's service account, services at ports of the pod's own loopback."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self._relays: dict[int, asyncio.Server] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def refresh(self) -> None:
        """Nothing: variables were given to the process when it began."""

    def open_services(self, services: Mapping[str, int]) -> None:
        """Relay each release's port to its Service, so that who asks it needs no other address than outside."""
        for name, port in services.items():
            if port not in self._relays and is_free(port):
                starting = relay(LOOPBACK, port, (name, SERVICE_PORT))
                self._relays[port] = asyncio.run_coroutine_threadsafe(starting, self._loop).result()


def is_inside(environment: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a pod of the environment with an account at the API server."""
    mine = environ.get("MLOPS_ENVIRONMENT") == environment and is_on_cluster(environ.get("MLOPS_KIND"))
    return mine and kubeconfig.in_cluster(environ) is not None


@functools.cache
def inside() -> Inside:
    """The environment of this pod, one for the whole process: its relays belong to the pod."""
    access = kubeconfig.in_cluster()
    assert access is not None  # `is_inside` was asked before
    return Inside(ApiServer(access, _NAMESPACE.read_text(encoding="utf-8").strip()))
