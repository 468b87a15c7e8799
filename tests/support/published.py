"""Programs that others publish, in an environment of their own: clients of the protocol, and a fuzz by a document.

pytest_plugins = ["tests.support.published"]
"""

import os
import subprocess
from pathlib import Path

import pytest

from mlops_sdk.platform import dependencies
from tests.support.serving import TOKEN

ROOT = Path(__file__).parents[2]
CHECKS = "not_a_server_error,response_schema_conformance"


@pytest.fixture(scope="session")
def clients() -> Path:
    """The Python of the environment of `requirements/clients.txt`, made once a machine."""
    return dependencies.ensure(ROOT, (ROOT / "requirements" / "clients.txt").read_bytes())


def fuzz(clients: Path, url: str, folder: Path, *options: str, seed: int, examples: int) -> str:
    """What schemathesis says of the OpenAPI document of the server at `url`; fails with it where it finds anything."""
    command = [str(clients.with_name("schemathesis")), "run", f"{url}/openapi.json"]
    command += ["--checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed), "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--header", f"Authorization: Bearer {TOKEN}"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": ""}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(done.stdout[-8_000:] + done.stderr[-2_000:])
    return done.stdout


__all__ = ["clients", "fuzz"]
