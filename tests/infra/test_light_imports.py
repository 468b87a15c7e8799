"""A local `pulumi up` pays for no other kind of environment."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pulumi_gcp", "pulumi_kubernetes", "kubernetes", "google.cloud", "google.pubsub_v1")
PROGRAM = """
import json, sys
import pulumi.runtime
from tests.support.declared import Declared

pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="local", preview=False)
ports = {"postgres": 21001, "mlflow": 21002, "prefect": 21003, "router": 21004, "agent": 21005}
values = {"kind": "local", "masterKey": "A" * 43, "ports": json.dumps(ports)}
pulumi.runtime.set_all_config({f"mlops-sdk:{key}": text for key, text in values.items()}, ["mlops-sdk:masterKey"])
import infra.__main__
print(json.dumps(sorted(sys.modules)))
"""


def test_the_whole_program_of_a_local_environment_imports_no_package_of_another_kind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "infra.kinds.local" in loaded
    assert not [name for name in loaded if name.startswith(HEAVY)]
