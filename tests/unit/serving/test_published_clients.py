"""Clients that others publish, and a fuzz of the API by its own OpenAPI document. In an environment of their own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from mlops_sdk.platform import dependencies
from tests.support.serving import TOKEN, Served

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "support" / "published_clients.py"


@pytest.fixture(scope="module")
def clients() -> Path:
    """The Python of the environment, made once a machine."""
    return dependencies.ensure(ROOT, (ROOT / "requirements" / "clients.txt").read_bytes())


def test_published_clients_of_the_open_inference_protocol_are_answered(served: Served, clients: Path) -> None:
    done = subprocess.run(
        [str(clients), str(SCRIPT), served.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["open_inference"] == {
        "model": "iris",
        "version": "1",
        "id": "1",
        "shape": [2],
        "datatype": "INT64",
        "data": [0, 2],
        "metadata": "iris",
        "server": "mlops-sdk",
    }
    assert found["triton"] == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "version": "1",
        "index": ["iris", "iris"],
        "data": [0, 2],
    }


def test_schemathesis_finds_no_server_error_by_the_openapi_document(
    served: Served, clients: Path, seed: int, tmp_path: Path
) -> None:
    command = [str(clients.with_name("schemathesis")), "run", f"{served.url}/openapi.json"]
    command += ["--checks", "not_a_server_error,response_schema_conformance", "--max-examples", "40"]
    command += ["--phases", "examples,coverage,fuzzing", "--seed", str(seed), "--no-color"]
    command += ["--header", f"Authorization: Bearer {TOKEN}"]
    # A registry that is away answers 503, as it should; the test is about the server.
    command += ["--exclude-path", "/update-model"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
