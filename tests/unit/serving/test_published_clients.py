"""Clients that others publish, and a fuzz of the API by its own OpenAPI document. In an environment of their own."""

import json
import subprocess
from pathlib import Path

from tests.support.published import fuzz
from tests.support.serving import Served

SCRIPT = Path(__file__).parents[2] / "support" / "published_clients.py"


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
    # A registry that is away answers 503, as it should; `test_every_route.py` has one.
    fuzz(clients, served.url, tmp_path, "--exclude-path", "/update-model", seed=seed, examples=40)
