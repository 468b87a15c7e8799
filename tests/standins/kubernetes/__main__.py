"""The plugin as a program, as the engine starts it."""

import sys

from pulumi.provider.experimental import server

from tests.standins.kubernetes.provider import VERSION, KubernetesProvider

server.ProviderServicer = KubernetesProvider  # type: ignore[misc]  # main() builds the servicer by this name
server.main(sys.argv[1:], VERSION, None)  # type: ignore[arg-type]
