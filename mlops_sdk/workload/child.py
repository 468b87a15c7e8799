"""`python -m mlops_sdk.workload.child FD FUNCTION JOB`: one attempt at a job, in a process of its own.

Reads the message from standard input and tells the consumer by JSON lines on descriptor FD how it goes. It dies with
its consumer, so that a killed consumer leaves nobody at work.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import PurePath
from typing import Any

from mlops_sdk.messaging.envelope import decode
from mlops_sdk.messaging.outcome import RefusedError, cut
from mlops_sdk.workload.context import JobContext

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Run the function; answers 0 when it returned, 1 when it raised, 3 when it refused the message for good."""
    _die_with_parent()
    descriptor, function, job = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    with os.fdopen(descriptor, "w", buffering=1, encoding="utf-8") as pipe:

        def tell(line: str) -> None:
            pipe.write(line + "\n")

        message = decode(sys.stdin.buffer.read(), attempt=int(os.environ["MLOPS_JOB_ATTEMPT"]))
        assert message.run_date is not None  # the consumer looked
        try:
            found = _import(function)(JobContext(job, message.run_date, message, tell))
            tell(_result(found, job))
        except RefusedError as error:
            tell(json.dumps({"cause": cut(str(error))}))
            return 3
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            traceback.print_exc()
            tell(json.dumps({"cause": cut(_cause(error))}))
            return 1
    return 0


def _result(found: Any, job: str) -> str:
    """The line that tells it. Raises ValueError for what is no JSON: NaN is none either, and Postgres keeps it not."""
    try:
        return json.dumps({"result": found}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"what job {job} returned is not JSON: {error}") from error


def _import(function: str) -> Any:
    module, _, attribute = function.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _cause(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({PurePath(frame.filename).name}:{frame.lineno})"


def _die_with_parent() -> None:
    if sys.platform == "linux":
        parent = int(os.environ["MLOPS_JOB_CONSUMER"])
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
