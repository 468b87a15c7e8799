"""What a flow run costs over the plain function that it wraps: of Prefect alone, and with what the SDK adds.

All three are called in one process that has imported everything, in turns, against a Prefect server of the bench's own.
The SDK adds that a flow parses the release's variables and tells Prefect which release it runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from mlops_sdk.platform import programs
from mlops_sdk.stack.ports import free_ports
from tools.bench.figures import Figure
from tools.bench.page import ROOT
from tools.bench.pipelines.release_settings import process_environment, settings_with
from tools.bench.running import Found, Say
from tools.bench.state.server import Server

SIDES = ("plain", "prefect", "ours")
_STARTS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Size:
    """How many rounds are measured."""

    rounds: int


FULL = Size(rounds=30)
QUICK = Size(rounds=3)


def measure(server: Server, size: Size, say: Say) -> Found:
    """Return the milliseconds of a call of each, and what flows cost over the plain function."""
    del server  # Prefect has its own SQLite, as on kind local
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder, _prefect(Path(folder)) as api_url:
        say("Prefect is there")
        done = subprocess.run(
            [sys.executable, "-m", "tools.bench.pipelines.flow_calls", str(size.rounds)],
            cwd=ROOT,
            env=_variables(api_url),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return figures(times), [
        "Flow runs: the function does nothing, so a value is what a run costs. Called in one process, without the"
        " second or so in which a worker looks for a run and starts a process for it, which are Prefect's."
    ]


def figures(times: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Milliseconds of each side, and of flows what is over the plain function. Pure."""
    how = "one call, SQLite server of kind local"
    over = {
        side: [1000 * (one - plain) for one, plain in zip(times[side], times["plain"], strict=True)]
        for side in SIDES[1:]
    }
    return [
        Figure("flow run: the plain function", how, "ms", [1000 * each for each in times["plain"]]),
        Figure("flow run: over the plain function, Prefect alone", how, "ms", over["prefect"]),
        Figure("flow run: over the plain function, a flow of a release", how, "ms", over["ours"]),
    ]


@contextmanager
def _prefect(folder: Path) -> Iterator[str]:
    """Prefect's server in `folder`, as kind local starts it; its API's address."""
    (port,) = free_ports(1)
    program = programs.prefect_server(programs.Place(ROOT, folder), port=port)
    url = f"http://127.0.0.1:{port}/api"
    with (folder / "prefect.log").open("wb") as log:
        process = subprocess.Popen(
            program.command, cwd=folder, env={**os.environ, **program.environment}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not _answers(f"{url}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError((folder / "prefect.log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _variables(api_url: str) -> dict[str, str]:
    """The environment of a process of a release, of which only Prefect's address is asked."""
    found = process_environment(settings_with(prefect_api_url=api_url))
    return {**found, "PREFECT_API_URL": api_url, "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1"}
