"""`python -m tools.cluster prepare [--or-leave-out]`, `up FOLDER`, `down FOLDER`: the node by hand, as tests use it.

`prepare` builds what the tests need. With `--or-leave-out` it ends with 0 where the machine lacks something for it, and
says why tests/cluster is left out.
"""

import sys
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError
from tools.cluster.binaries import ensure
from tools.cluster.node import GATEWAY_PORT, Node
from tools.cluster.preparation import prepare, prepare_or_leave_out
from tools.cluster.requirements import lacking


def main(arguments: list[str]) -> int:
    """Run one of the commands; return its exit code."""
    try:
        match arguments:
            case ["prepare"]:
                prepare(_say)
            case ["prepare", "--or-leave-out"]:
                prepare_or_leave_out(_say)
            case ["up", folder]:
                _require()
                node = Node(Path(folder).resolve(), ensure(_say))
                node.start()
                node.start_gateway()
                print(f"export KUBECONFIG={node.kubeconfig}  # Gateway: http://127.0.0.1:{GATEWAY_PORT}")
            case ["down", folder]:
                Node(Path(folder).resolve(), ensure(_say)).stop()
            case _:
                raise InputError("say `prepare`, `prepare --or-leave-out`, `up FOLDER` or `down FOLDER`")
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _require() -> None:
    faults = lacking()
    if faults:
        raise MlopsError("; ".join(faults))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
