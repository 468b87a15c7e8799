"""The router of the local kind: four small files that Caddy reads at each request.

A file is replaced atomically, and an address only while no traffic goes there, so nothing that is
done here drops a request. Must not know Postgres: who may write is decided elsewhere, and the router
may lead or lag.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_sdk.errors import MlopsError, NotFoundError
from mlops_sdk.traffic.buckets import BUCKETS, share_of, threshold
from mlops_sdk.traffic.caddy import CURRENT_FILE, KEYLESS_FILE, NEXT_FILE, SHARE_FILE, caddy_config
from mlops_sdk.traffic.port import Routes

CONFIG_FILE = "caddy.json"
_HOST = "127.0.0.1"
_INITIAL = {CURRENT_FILE: "", NEXT_FILE: "", SHARE_FILE: threshold(0), KEYLESS_FILE: threshold(0)}


def prepare_router(folder: Path, port: int) -> Path:
    """Write the config for a router on `port` and the files it reads, if missing; path of the config.

    What the files say is kept: after a restart the router sends requests where it did before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        for name, text in _INITIAL.items():
            if not (folder / name).exists():
                _replace(folder / name, text)
        config = json.dumps(caddy_config(port), indent=2) + "\n"
        path = folder / CONFIG_FILE
        if not path.exists() or path.read_text(encoding="utf-8") != config:
            _replace(path, config)
    return path


class FileTraffic:
    """`TrafficPort` over the folder of a router. Raises NotFoundError before `prepare_router`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set_slots(self, current_port: int | None, next_port: int | None) -> None:
        """Name the services of the two slots; a new `next` begins with no traffic."""
        with self._changing():
            if self._port(CURRENT_FILE) != current_port:
                self._point(current_port)
            if self._port(NEXT_FILE) != next_port:
                self._share(0, 0)
                self._address(NEXT_FILE, next_port)

    def set_weight(self, next_share: int, *, keyless_share: int | None = None) -> None:
        """Send `next_share` of 256 buckets to `next`. Raises ValueError outside of 0..256."""
        with self._changing():
            self._share(next_share, next_share if keyless_share is None else keyless_share)

    def point(self, port: int) -> None:
        """Send everything to `port`, which is `current` afterwards."""
        with self._changing():
            self._point(port)

    def read(self) -> Routes:
        """What the files say."""
        self._check()
        return Routes(
            current_port=self._port(CURRENT_FILE),
            next_port=self._port(NEXT_FILE),
            next_share=share_of(self._text(SHARE_FILE)),
            keyless_share=share_of(self._text(KEYLESS_FILE)),
        )

    def _point(self, port: int | None) -> None:
        """In four steps, each safe for the requests that are under way, and to stop after."""
        if self._port(CURRENT_FILE) not in {None, port} and port is not None:
            if self._port(NEXT_FILE) != port:
                self._share(0, 0)
                self._address(NEXT_FILE, port)
            # From here on all go by `next`, so that `current` can be replaced unseen.
            self._share(BUCKETS, BUCKETS)
        self._address(CURRENT_FILE, port)
        self._share(0, 0)

    def _share(self, named: int, keyless: int) -> None:
        for name, share in ((SHARE_FILE, named), (KEYLESS_FILE, keyless)):
            if self._text(name) != threshold(share):
                _replace(self._folder / name, threshold(share))

    def _address(self, name: str, port: int | None) -> None:
        if self._port(name) != port or (port is None and self._text(name)):
            _replace(self._folder / name, "" if port is None else f"{_HOST}:{port}")

    def _port(self, name: str) -> int | None:
        _, _, digits = self._text(name).rpartition(":")
        return int(digits) if digits.isdigit() else None

    def _text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def _check(self) -> None:
        if not (self._folder / CONFIG_FILE).exists():
            raise NotFoundError(
                "there is no router here", where=str(self._folder), remedy="`mlops up` makes it."
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self._check()
        with _only_one(self._folder):
            yield


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two changes at once would break the order of the steps."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise MlopsError(f"the router's file cannot be written: {error.strerror}", where=str(path)) from error
