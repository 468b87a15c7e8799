"""The plugin as a program, as the engine starts it."""

import sys

from pulumi.provider.experimental import server

from tests.standins.echo.provider import EchoProvider

server.ProviderServicer = EchoProvider  # type: ignore[misc]  # main() builds the servicer by this name
server.main(sys.argv[1:], EchoProvider.version, None)  # type: ignore[arg-type]
