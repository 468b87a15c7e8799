"""Many deployers at once on one environment: processes that call `deploy`, as CI jobs that start together do.

    python -m tests.support.deployers ROUNDS DEPLOYERS LIVE OTHER...

The last are manifests of releases that stand complete, LIVE of the one that is live; each deployer wants another one.
Run in the project. Prints a JSON object a round: `won` is the list of pids whose deploy came to its end, `refused` maps
the other pids to what they were told, `failed` those that ended otherwise. Each round all wait for each other right
after they asked for the lease, so that none comes when the winner is done already.
"""

import json
import multiprocessing
import os
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.ledger.lease import Lease
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.deploy.deploy import deploy
from mlops_sdk.rollout.environment.session import Session

_TOGETHER_S = 120.0


def main() -> None:
    """The command of the module."""
    rounds, deployers, manifests = int(sys.argv[1]), int(sys.argv[2]), [Path(each) for each in sys.argv[3:]]
    context = multiprocessing.get_context("fork")
    live = manifests[0].stem
    for _ in range(rounds):
        results: Any = context.SimpleQueue()
        barrier = context.Barrier(deployers)
        others = [path for path in manifests if path.stem != live]
        wanted = [others[each % len(others)] for each in range(deployers)]
        workers = [context.Process(target=_deploy, args=(path, barrier, results)) for path in wanted]
        for worker in workers:
            worker.start()
        found = [results.get() for _ in workers]
        for worker in workers:
            worker.join()
        live = next((str(said) for _, what, said in found if what == "won"), live)
        sys.stdout.write(json.dumps(_sorted(found)) + "\n")
        sys.stdout.flush()


def _deploy(manifest: Path, barrier: Barrier, results: Any) -> None:
    acquire = Session.acquire_lease

    def acquire_and_meet(session: Session, who: str | None = None) -> Lease:
        try:
            lease = acquire(session, who)
        except BaseException:
            barrier.wait(_TOGETHER_S)
            raise
        barrier.wait(_TOGETHER_S)
        return lease

    Session.acquire_lease = acquire_and_meet  # type: ignore[method-assign]  # this process's own copy
    try:
        outcome = deploy(load_project(), "local", manifest, reason=f"pid {os.getpid()}")
        results.put((os.getpid(), "won", outcome.release))
    except LeaseHeldError as error:
        results.put((os.getpid(), "refused", [error.exit_code, str(error)]))
    except BaseException as error:  # noqa: BLE001 - the boundary of a process: it is told as it is
        results.put((os.getpid(), "failed", f"{type(error).__name__}: {error}"))


def _sorted(found: list[tuple[int, str, Any]]) -> dict[str, dict[int, Any]]:
    return {
        word: {pid: said for pid, what, said in found if what == word}
        for word in ("won", "refused", "failed")
    }


if __name__ == "__main__":
    main()
