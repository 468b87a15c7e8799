"""Google's own in-memory Pub/Sub server for tests, built once from `tools/pubsub` with Go.

    pytest_plugins = ["tests.support.pubsub"]

`pubsub_server` runs as long as the test process; each test makes a project of its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops_sdk.stack.engine_build import find_go
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tools" / "pubsub"


@dataclass(frozen=True)
class PubSubServer:
    """A running server; `host` is what PUBSUB_EMULATOR_HOST has to be."""

    host: str


def binary() -> Path:
    """The server's program, built unless this version was built before."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = cache / "mlops-sdk" / "pubsub" / digest.hexdigest()[:12] / "pubsub"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        built = target.with_name(f"pubsub-{os.getpid()}")
        go = find_go(lambda line: print(line, file=sys.stderr), os.environ)
        env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        subprocess.run([go, "build", "-trimpath", "-o", built, "."], cwd=SOURCES, env=env, check=True)
        built.replace(target)
    return target


@pytest.fixture(scope="session")
def pubsub_server() -> Iterator[PubSubServer]:
    """The server of this test process; it ends with it, also when that is killed."""
    port = free_ports(1)[0]
    leash = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    process = subprocess.Popen([*leash, binary(), str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    host = process.stdout.readline().strip()  # it says so when it listens
    yield PubSubServer(host)
    process.terminate()
    process.wait(10)
    process.stdout.close()
