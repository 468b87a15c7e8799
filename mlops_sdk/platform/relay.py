"""`python -m mlops_sdk.platform.relay --to HOST:PORT`: a TCP relay, for who can reach a pod and nothing beside it.

An operator's machine reaches a pod of a cluster by a port-forward of its API server; Postgres may be no pod, but
Cloud SQL at a private address. Bytes go through as they are: who may do what stays Postgres' to say. Must not read
them.
"""

import argparse
import asyncio
import logging
import signal
from contextlib import suppress

_CHUNK = 65_536
_log = logging.getLogger("mlops.relay")


async def relay(host: str, port: int, target: tuple[str, int]) -> asyncio.Server:
    """A server that listens on `host`:`port` and joins each connection with one of its own to `target`."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError as error:
            _log.warning("%s:%d: %s", *target, error)
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    server = await asyncio.start_server(join, host, port)
    _log.info("relaying %s:%d to %s:%d", host, server.sockets[0].getsockname()[1], *target)
    return server


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Either side may go at any time: the other then gets its end.
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def _main(host: str, port: int, target: tuple[str, int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await relay(host, port, target):
        await stop.wait()


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(prog="mlops_sdk.platform.relay")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument("--to", required=True, help="HOST:PORT to relay to")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(options.host, options.port, (host.strip("[]"), int(port))))


if __name__ == "__main__":
    main()
