"""Object stores for tests, each a process on a port of its own: moto's S3, and an emulator of Google Cloud Storage.

    pytest_plugins = ["tests.support.stores"]

Both speak the store's real interface and keep everything in memory; both have packages that ours exclude, and run in
the environment of `requirements/stores.txt`. `s3` and `gcs` set the variables that the drivers read.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec
import httpx
import pytest

from mlops_sdk.platform import dependencies
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
_LAUNCHER = ROOT / "mlops_sdk" / "platform" / "launch.py"
BUCKET = "samples"
# Read as gcsfs is imported: it would ask another API, by gRPC, what kind of bucket it is.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Store:
    """A store at `address` with the empty bucket `samples`; `uri` is `s3://samples` or `gs://samples`."""

    address: str
    uri: str


@pytest.fixture(scope="session")
def stores() -> Path:
    """The folder of programs of the stores' environment, made once a machine."""
    return dependencies.ensure(ROOT, (ROOT / "requirements" / "stores.txt").read_bytes()).parent


@pytest.fixture(scope="module")
def s3(stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """S3, reached as MinIO is: by an address of its own."""
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("s3") / "log"
    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "a-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [str(stores / "python"), str(stores / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, address, log), environment(variables):
        httpx.put(f"{address}/{BUCKET}").raise_for_status()
        yield Store(address, f"s3://{BUCKET}")


@pytest.fixture(scope="module")
def gcs(stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Google Cloud Storage's JSON API. It asks for no credentials."""
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("gcs") / "log"
    command = [str(stores / "python"), str(stores / "gcp-storage-emulator"), "start", "--host=127.0.0.1"]
    command += [f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}"]
    variables = {
        "STORAGE_EMULATOR_HOST": address,
        "FSSPEC_GCS_TOKEN": "anon",
    }
    with _running(command, f"{address}/storage/v1/b/{BUCKET}", log), environment(variables):
        yield Store(address, f"gs://{BUCKET}")


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """These variables for as long as the context lasts, and drivers that have read no others; None takes one away."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    fsspec.config.conf.clear()
    fsspec.config.set_conf_env(fsspec.config.conf)
    for kind in ("s3", "gs"):
        fsspec.get_filesystem_class(kind).clear_instance_cache()


@contextmanager
def _running(command: list[str], answers: str, log: Path) -> Iterator[None]:
    launched = [sys.executable, "-P", str(_LAUNCHER), "--stop-with-parent", "TERM", "--", *command]
    with log.open("wb") as stream:
        process = subprocess.Popen(launched, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _answers(answers):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the store did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False


__all__ = ["Store", "environment", "gcs", "s3", "stores"]
