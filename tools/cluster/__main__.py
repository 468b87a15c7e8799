"""`python -m tools.cluster prepare`, `up FOLDER`, `down FOLDER`: the node by hand, as the tests use it.

`prepare` builds what the tests need, where a node can run; where not it says why tests/cluster is left out.
"""

import os
import sys
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError
from tools.clone import ROOT
from tools.cluster.base_image import ensure_base
from tools.cluster.binaries import ensure
from tools.cluster.node import GATEWAY_PORT, Node
from tools.cluster.project_images import build
from tools.cluster.requirements import lacking


def main(arguments: list[str]) -> int:
    """Run one of the three commands; return its exit code."""
    try:
        match arguments:
            case ["prepare"]:
                _prepare()
            case ["up", folder]:
                _require()
                node = Node(Path(folder).resolve(), ensure(_say))
                node.start()
                node.start_gateway()
                print(f"export KUBECONFIG={node.kubeconfig}  # Gateway: http://127.0.0.1:{GATEWAY_PORT}")
            case ["down", folder]:
                Node(Path(folder).resolve(), ensure(_say)).stop()
            case _:
                raise InputError("say `prepare`, `up FOLDER` or `down FOLDER`")
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _prepare() -> None:
    """Two builds with a cache each. Nothing where another cluster is named."""
    if os.environ.get("MLOPS_TEST_KUBECONFIG"):
        _say("tests/cluster runs on the cluster of MLOPS_TEST_KUBECONFIG")
        return
    faults = lacking()
    if faults:
        _say(f"tests/cluster is left out: {'; '.join(faults)}; or name a cluster by MLOPS_TEST_KUBECONFIG")
        return
    _say(f"Kubernetes: {ensure(_say).folder}")
    _say(f"base image: {ensure_base(_say)}")
    # The layer of packages takes minutes; the images of a commit are then built in seconds.
    _say(f"packages: {build(ROOT, 'prepared', 'dependencies', _say)}")


def _require() -> None:
    faults = lacking()
    if faults:
        raise MlopsError("; ".join(faults))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
