"""Runs a stand-alone model server: the first model is prepared, then workers serve until they are told to stop.

A model that cannot be served ends this before a port is bound. It must not know a command line.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.serving.loading.loader import Loader
from mlops_sdk.serving.loading.preparing import Order, Prepared
from mlops_sdk.serving.run import GRACEFUL_S, ONE_THREAD
from mlops_sdk.serving.server.access import model_reference
from mlops_sdk.serving.server.agreement import Agreement
from mlops_sdk.serving.server.model_server import first_document
from mlops_sdk.serving.server.settings import ServerSettings

WAITING_CONNECTIONS = 2_048


@dataclass(frozen=True)
class Listening:
    """Where, and with how many processes. More than one is right for a model that keeps a core busy."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1


def serve(settings: ServerSettings, listening: Listening, *, report: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT: requests in flight are answered.

    Raises what preparing the first model raises, and InputError if the port is taken.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from mlops_sdk.serving.hot.protocol import HotProtocol

    _check_free(listening)
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    report(f"preparing {settings.model}")
    prepared = asyncio.run(_prepare(settings))
    report(f"{prepared.name} version {prepared.version}: {prepared.note}")
    Agreement(settings.folder).write(first_document(prepared, shadow_share=settings.shadow_share))
    os.environ.update(settings.model_copy(update={"workers": listening.workers}).variables())
    config = uvicorn.Config(
        "mlops_sdk.serving.server.worker:application",
        factory=True,
        host=listening.host,
        port=listening.port,
        workers=listening.workers,
        loop="uvloop",
        http=HotProtocol,
        ws="none",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=WAITING_CONNECTIONS,
        log_level="warning",
        timeout_graceful_shutdown=GRACEFUL_S,
    )
    report(f"serving on http://{listening.host}:{listening.port}, its API on /docs")
    if listening.workers == 1:
        uvicorn.Server(config).run()
    else:
        # It starts a worker again that was killed; the socket, and who waits on it, stay.
        Multiprocess(config, sockets=[config.bind_socket()]).run()


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder of this server's own, gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-serve-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def token_of(variable: str | None, folder: Path) -> tuple[SecretStr, Path | None]:
    """The token of calls that change something: the given one, else a new one and the file (0600) that holds it.

    Raises InputError for a given one that can be guessed.
    """
    if variable:
        if len(variable) < 16:
            raise InputError("the token has fewer than 16 characters", where="MLOPS_SERVE_TOKEN")
        return SecretStr(variable), None
    token = secrets.token_urlsafe(32)
    path = folder / "token"
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as stream:
        stream.write(token + "\n")
    return SecretStr(token), path


async def _prepare(settings: ServerSettings) -> Prepared:
    reference = model_reference(settings.model)
    loader = Loader()
    try:
        return await loader.prepare(
            Order(
                mlflow_uri=settings.mlflow_uri,
                cache=str(settings.model_cache),
                name=reference.name,
                version=reference.version,
                alias=reference.alias,
            )
        )
    finally:
        await loader.close()


def _check_free(listening: Listening) -> None:
    import socket

    try:
        family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listening.host, listening.port))
    except OSError as error:
        raise InputError(
            f"cannot listen on {listening.host}:{listening.port}: {error.strerror}",
            remedy="name another --port",
        ) from error


__all__ = ["Listening", "serve", "shared_folder", "token_of"]
