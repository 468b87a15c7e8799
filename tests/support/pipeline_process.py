"""A command of a pipeline as a process: `python -m MODULE OPTION ...`, as its README has it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

ROOT = Path(__file__).parents[2]


@contextmanager
def pipeline_process(module: str, *options: str, queue_url: SecretStr) -> Iterator["subprocess.Popen[str]"]:
    """The command with the database of its queue; it is killed where it has not ended with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env={**os.environ, "MLOPS_QUEUE_URL": queue_url.get_secret_value()},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
