"""`python -m mlops_sdk.serving.template.train_process`: one training, ordered by a line of JSON on standard input.

Standard output gets one line: `{"trained": {...}}` or `{"error": {...}}`; standard error the log. It ends when its
input does, for then the server is gone. Data are read here, so that the server never holds them.
"""

import dataclasses
import json
import logging
import os
import sys
import threading
from typing import Any

from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.serving.loading.process import error_document
from mlops_sdk.serving.template.data import Data, read_data
from mlops_sdk.serving.template.training import Order, train

_log = logging.getLogger(__name__)


def outcome(line: str) -> dict[str, Any]:
    """What becomes of an order: `order`, `data`, `roots` and `sources` (secrets)."""
    document = json.loads(line)
    try:
        frame = read_data(
            Data.model_validate(document["data"]),
            roots=tuple(document["roots"]),
            sources={name: SecretStr(value) for name, value in document["sources"].items()},
        )
        return {"trained": dataclasses.asdict(train(Order(**document["order"]), frame))}
    except Exception as error:  # noqa: BLE001 - the boundary of a process: a trainer's code may raise anything
        _log.error("training failed", exc_info=error)
        if isinstance(error, MlopsError):
            return {"error": error_document(error)}
        what = f"{type(error).__name__}: {error}"
        return {"error": {"kind": "MlopsError", "what": what[:1000], "where": "", "remedy": ""}}


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> int:
    """Train once; 0 also when the training failed, which the answer says."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a trainer prints must not be taken for the answer
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_input, daemon=True).start()
    with os.fdopen(answers, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(outcome(line)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
