"""The real engine on a project of a test: no login, no download, a state of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops_sdk.stack import engine

PASSPHRASE = "for tests"


def run_engine(
    root: Path, *arguments: str, environ: Mapping[str, str], timeout_s: float, fails: bool = False
) -> str:
    """Run `pulumi ARGUMENTS` in `root`; return what it prints. `fails` says whether it must."""
    found = engine.ensure(print)
    given = {
        **os.environ,
        "PATH": os.pathsep.join([str(found.folder), str(Path(sys.prefix, "bin")), os.environ["PATH"]]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_BACKEND_URL": f"file://{root / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_HOME": str(root / "home"),
        "PULUMI_STANDIN_PYTHON": sys.executable,
        **environ,
    }
    done = subprocess.run(
        [str(found.pulumi), "--non-interactive", *arguments],
        cwd=root,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, output
    return output
