"""`python -m mlops_sdk.serving.loading.process`: prepares models for a server, each in a fork of its own.

A line of JSON on standard input is an `Order`; a line on standard output is its outcome: `{"prepared": {...}}` or
`{"error": {...}}`. Packages are imported once, in the process that forks; what a model's code does to memory, modules
or the process itself ends with the fork. It ends when its input does. It must not talk to the server otherwise.
"""

import json
import logging
import os
import sys
import traceback
from typing import Any

from mlops_sdk.errors import MlopsError


def error_document(error: Exception) -> dict[str, Any]:
    """An error as JSON: the class of the SDK's own, any other as MlopsError without its text."""
    if isinstance(error, MlopsError):
        kind = type(error).__name__
        return {"kind": kind, "what": error.what, "where": error.where, "remedy": error.remedy}
    what = f"the model could not be prepared ({type(error).__name__})"
    return {"kind": "MlopsError", "what": what, "where": "", "remedy": "the server's log has the traceback"}


def outcome(line: str) -> dict[str, Any]:
    """What becomes of one order."""
    from mlops_sdk.serving.loading.preparing import order_of, prepare

    try:
        return {"prepared": prepare(order_of(json.loads(line))).document()}
    except Exception as error:  # noqa: BLE001 - the boundary of a process: a model's code may raise anything
        if not isinstance(error, MlopsError):
            traceback.print_exc()
        return {"error": error_document(error)}


def _in_a_fork(line: str, answers: int) -> None:
    child = os.fork()
    if child == 0:
        text = json.dumps(outcome(line)) + "\n"
        _write(answers, text.encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        died = (
            f"signal {os.WTERMSIG(status)}"
            if os.WIFSIGNALED(status)
            else f"exit code {os.waitstatus_to_exitcode(status)}"
        )
        error = MlopsError(
            f"the process that prepared the model died ({died})", remedy="does it fit into memory?"
        )
        _write(answers, (json.dumps({"error": error_document(error)}) + "\n").encode())


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def main() -> int:
    """Prepare what is ordered until the input ends."""
    # What a model or its packages print must not be taken for an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    import sklearn.ensemble  # before the forks, which then start in milliseconds
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401

    import mlops_sdk.serving.loading.preparing  # noqa: F401

    for line in sys.stdin:
        _in_a_fork(line, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
