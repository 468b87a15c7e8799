"""Ports of an environment's pods on this machine's 127.0.0.1, for as long as a command needs them.

    python -P -m mlops_sdk.cluster.forwarder FOLDER

One process a machine and environment: who comes second uses what the first has begun, and it ends some seconds after
the last one has. Each port is a `kubectl port-forward`, begun again when its pod went. It must not know what the ports
are for: `targets.json` in FOLDER names them, the files in `users` who needs them.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from mlops_sdk.cluster.kubeconfig import Access
from mlops_sdk.errors import DeadlineError, NotFoundError

_LOOK_AGAIN_S = 0.2
_LINGER_S = 5.0
_START_S = 30.0
_END_S = 5.0
_AGAIN_S = 1.0

_OUTLIVING: list[subprocess.Popen[bytes]] = []
"""Forwarders that this process began, and that may go on after it: others may need them by then."""


@dataclass(frozen=True)
class Target:
    """One port of a Service on a port of 127.0.0.1."""

    service: str
    port: int
    local_port: int


class Forwards:
    """The forwards of one environment, kept in `folder`."""

    def __init__(self, folder: Path, access: Access, namespace: str) -> None:
        self._folder = folder
        self._access = access
        self._namespace = namespace

    @contextlib.contextmanager
    def used(self, targets: Sequence[Target]) -> Iterator[None]:
        """Keep these ports open for the length of a block; return when each answers.

        Raises NotFoundError without kubectl, DeadlineError with kubectl's words where a port does not open.
        """
        if shutil.which("kubectl") is None:
            raise NotFoundError(
                "kubectl is not on PATH",
                remedy="install it: forwards into a cluster are made by `kubectl port-forward`",
            )
        users = self._folder / "users"
        users.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A process may open an environment more than once.
        mine = users / f"{os.getpid()}-{secrets.token_hex(4)}"
        with _locked(self._folder / "targets.lock"):
            mine.touch()
        try:
            if silent := self.add(targets):
                raise DeadlineError(
                    f"service {silent[0]} could not be forwarded: {self._last_words(silent[0])}",
                    where=f"context {self._access.context}, namespace {self._namespace}",
                    remedy="are its pods ready? `mlops status ENV` shows them",
                )
            yield
        finally:
            mine.unlink(missing_ok=True)

    def add(self, targets: Sequence[Target], *, later: Set[str] = frozenset()) -> list[str]:
        """Open more ports for the block that is under way; return the services whose port did not answer in time.

        Those of `later` are not waited for: a forward opens its port once the service has a pod.
        """
        wanted = {target.service: [target.port, target.local_port] for target in targets}
        with _locked(self._folder / "targets.lock"):
            path = self._folder / "targets.json"
            known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            _replace(path, json.dumps({**known, **wanted}))
        self._start()
        deadline = time.monotonic() + _START_S
        silent = [target for target in targets if target.service not in later]
        while silent := [target for target in silent if not _answers(target.local_port)]:
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_AGAIN_S)
        return [target.service for target in silent]

    def _start(self) -> None:
        arguments = {
            "kubeconfig": self._access.file,
            "context": self._access.context,
            "namespace": self._namespace,
        }
        _replace(self._folder / "cluster.json", json.dumps(arguments))
        with (self._folder / "forwarder.log").open("ab") as log:
            # A second one finds the lock taken and ends at once.
            _OUTLIVING.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "mlops_sdk.cluster.forwarder", str(self._folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _last_words(self, service: str) -> str:
        path = self._folder / f"{service}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "nothing was heard")


def serve(folder: Path) -> None:
    """Keep the forwards of `folder` going until nobody has used them for some seconds."""
    with (folder / "forwarder.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        children: dict[str, tuple[list[int], subprocess.Popen[bytes]]] = {}
        begun: dict[str, float] = {}
        needed = time.monotonic()
        try:
            while True:
                if _is_used(folder / "users"):
                    needed = time.monotonic()
                elif time.monotonic() - needed > _LINGER_S and _may_end(folder, handle, children):
                    return
                _keep(folder, children, begun)
                time.sleep(_LOOK_AGAIN_S)
        finally:
            for _, child in children.values():
                _end(child)


def _may_end(
    folder: Path, handle: IO[str], children: Mapping[str, tuple[list[int], subprocess.Popen[bytes]]]
) -> bool:
    """End every forward and give up the lock, unless somebody came: who comes later finds nothing and begins anew."""
    with _locked(folder / "targets.lock"):
        if _is_used(folder / "users"):
            return False
        (folder / "targets.json").unlink(missing_ok=True)
        for _, child in children.values():
            _end(child)
        fcntl.flock(handle, fcntl.LOCK_UN)
        return True


def _keep(
    folder: Path, children: dict[str, tuple[list[int], subprocess.Popen[bytes]]], begun: dict[str, float]
) -> None:
    """Start what is wanted and does not run."""
    path = folder / "targets.json"
    wanted: Mapping[str, list[int]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for service, ports in wanted.items():
        now = children.get(service)
        if now and now[0] == ports and now[1].poll() is None:
            continue
        if now:
            _end(now[1])
        if time.monotonic() - begun.get(service, 0) < _AGAIN_S:
            continue
        begun[service] = time.monotonic()
        children[service] = (ports, _forward(folder, service, ports))


def _forward(folder: Path, service: str, ports: list[int]) -> subprocess.Popen[bytes]:
    cluster = json.loads((folder / "cluster.json").read_text(encoding="utf-8"))
    command = ["kubectl", "--kubeconfig", cluster["kubeconfig"], "--context", cluster["context"]]
    command += ["--namespace", cluster["namespace"], "port-forward", "--address", "127.0.0.1"]
    command += [f"service/{service}", f"{ports[1]}:{ports[0]}"]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "TERM", "--", *command]
    with (folder / f"{service}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _is_used(users: Path) -> bool:
    alive = False
    for path in users.iterdir():
        if psutil.pid_exists(int(path.name.partition("-")[0])):
            alive = True
        else:
            path.unlink(missing_ok=True)
    return alive


def _answers(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def main() -> None:
    """Serve the folder that is named on the command line; a SIGTERM ends it and its children."""

    def stop(*_: object) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    serve(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
