"""A release's service as a process of its own, with the variables that `deploy` would give it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from mlops_sdk.runtime.settings import ServiceSettings
from tools.bench.page import ROOT
from tools.bench.pipelines.release_settings import process_environment

_READY_WITHIN_S = 60.0


@contextmanager
def running_service(settings: ServiceSettings, log: Path) -> Iterator[str]:
    """Its address once it is ready. Raises TimeoutError with the end of its log."""
    url = f"http://127.0.0.1:{settings.service_port}"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlops_sdk.serving.run"],
            cwd=ROOT,
            env=process_environment(settings),
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(
                    f"the service did not become ready: {log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
