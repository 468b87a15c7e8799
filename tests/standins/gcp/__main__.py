"""The plugin as a program, as the engine starts it."""

import sys

from pulumi.provider.experimental import server

from tests.standins.gcp.provider import GcpProvider

server.ProviderServicer = GcpProvider  # type: ignore[misc]  # main() builds the servicer by this name
server.main(sys.argv[1:], GcpProvider.version, None)  # type: ignore[arg-type]
