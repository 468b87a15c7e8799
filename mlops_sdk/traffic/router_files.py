"""The router of the local kind: four small files that Caddy reads at each request.

A file is replaced atomically, and an address only while no traffic goes there, so nothing that is
done here drops a request. Must not know Postgres: who may write is decided elsewhere, and the router
may lead or lag.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_sdk.errors import MlopsError, NotFoundError
from mlops_sdk.release.buckets import BUCKETS, share_of, threshold
from mlops_sdk.traffic.caddy import CURRENT_FILE, KEYLESS_FILE, NEXT_FILE, SHARE_FILE, caddy_config
from mlops_sdk.traffic.port import Routes

CONFIG_FILE = "caddy.json"
_HOST = "127.0.0.1"
_HUNG_S = 5.0
_LOOK_AGAIN_S = 0.01
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
    """Two changes at once would break the order of the steps.

    A change takes milliseconds. Who holds the lock for longer was stopped, and gets no say: the lock's file is
    replaced. What such a one still writes when it wakes up, it sets right itself (`traffic.shift.follow`).
    """
    path = folder / ".lock"
    deadline = time.monotonic() + _HUNG_S
    while True:
        with path.open("a") as file:
            if _is_locked(file.fileno(), path):
                yield
                return
        if time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            deadline = time.monotonic() + _HUNG_S
        time.sleep(_LOOK_AGAIN_S)


def _is_locked(descriptor: int, path: Path) -> bool:
    """Whether the lock is ours, and of the file that is there now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


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
