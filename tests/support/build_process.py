"""A builder or a deployer of one table as a process of its own, to be killed or stopped by a test.

python -m tests.support.build_process fill SETTINGS.env FOLDER
python -m tests.support.build_process deploy SETTINGS.env FOLDER ENVIRONMENT

Its builder yields the numbers 1 to 10, five a batch, with cursors. It waits in the middle while FOLDER/wait is
there, and appends a line to FOLDER/runs when it starts. The settings are those of any attempt at the table;
`deploy` takes a lease of ENVIRONMENT and replaces what belongs to the attempt.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.rollout.apply.building import build_or_wait
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder, BuildSettings
from mlops_sdk.state.context import Batch, BuildContext
from mlops_sdk.state.fill import Build, fill
from tests.support.environment import MASTER_KEY

ROWS, BATCH_ROWS = 10, 5


class _Rows(list[Any]):
    """Rows that say when COPY reads them, inside the batch's transaction, and make it wait there."""

    folder: Path

    def __iter__(self) -> Iterator[Any]:
        (self.folder / "inside").touch()
        _wait(self.folder / "wait inside")
        return super().__iter__()


def builder(folder: Path) -> Build:
    """The builder that this module's docstring describes."""

    def numbers(context: BuildContext) -> Iterator[Batch]:
        with (folder / "runs").open("a") as runs:
            runs.write(f"{context.resume_after}\n")
        context.expect(ROWS)
        for first in range(int(context.resume_after or 0) + 1, ROWS, BATCH_ROWS):
            if first > 1:
                (folder / "between").touch()
                _wait(folder / "wait")
            rows = _Rows({"id": n, "word": f"word {n}"} for n in range(first, first + BATCH_ROWS))
            rows.folder = folder
            yield Batch(rows, cursor=str(first + BATCH_ROWS - 1))

    return numbers


def _wait(path: Path) -> None:
    while path.exists():
        time.sleep(0.01)


def _deploy(settings: BuildSettings, folder: Path, environment: str) -> None:
    digest, table, fingerprint = settings.release_digest, settings.build.table, settings.build.fingerprint
    conninfo = SecretStr(env_file.read(folder / "operator.env")["CONNINFO"])

    def start(order: BuildOrder) -> None:
        changed = {"database_user": order.role, "database_password": derive(MASTER_KEY, order.role)}
        fill(settings.model_copy(update={**changed, "build": order}), builder(folder))

    with Lease.acquire(conninfo, environment, Holder.this_process()) as lease:
        sealed = build_or_wait(
            conninfo,
            environment,
            digest,
            table,
            fingerprint,
            lease=lease.token,
            master_key=MASTER_KEY,
            start=start,
            left_s=lambda: 60,
            report=lambda line: print(line, flush=True),
        )
        print(f"sealed attempt {sealed.attempt}", flush=True)


if __name__ == "__main__":
    given = BuildSettings.parse(env_file.read(Path(sys.argv[2])))
    if sys.argv[1] == "fill":
        fill(given, builder(Path(sys.argv[3])))
    else:
        _deploy(given, Path(sys.argv[3]), sys.argv[4])
