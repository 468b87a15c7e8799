"""The one place that imports DVC: `python -P -m mlops_sdk.data.dvc_child`, an order as JSON in, an answer out.

A process of its own, so that DVC's locks, threads, loggers and second of imports are not the SDK's. Remotes and cache
are those of the project as it is now, also for a checkout of an earlier commit: data may have moved since.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

Order = Mapping[str, Any]
_CREDENTIALS = re.compile(r"://[^/@\s]+@")


def add(order: Order) -> None:
    """Take the files and folders `targets` of `project` into the cache, and write their .dvc files."""
    _project(order).add(order["targets"])


def push(order: Order) -> dict[str, Any]:
    """Bring the versions that `targets` (.dvc files of `project`) name to the remote; how many files were `sent`.

    None where a place holds something else than its version: `changed` are the .dvc files of those. What is not there
    at all may be pushed from the cache. `pushed` are those of `versions` that are whole in the remote afterwards: DVC
    is content with what it cannot find.
    """
    repo = _project(order)
    if changed := _changed(repo, order["present"]):
        return {"changed": changed, "sent": 0, "pushed": []}
    sent = int(repo.push(order["targets"]))
    return {"changed": [], "sent": sent, "pushed": _whole(repo.cloud.get_remote_odb(), order["versions"])}


def pull(order: Order) -> int:
    """Put the versions that `targets` (.dvc files of `folder`) name in their places; how many files were fetched."""
    return int(_checkout(order).pull(order["targets"], force=True)["stats"]["fetched"])


def where(order: Order) -> dict[str, Any]:
    """Which of the `versions` (hashes) are whole in the cache, and in the remote; `fault` says why nobody knows.

    `changed` are those of `targets` (.dvc files of `project`) that name another version than what is in its place.
    """
    repo = _project(order)
    answer: dict[str, Any] = {
        "changed": _changed(repo, order["targets"]),
        "cached": _whole(repo.cache.local, order["versions"]),
        "pushed": [],
        "fault": "",
    }
    try:
        answer["pushed"] = _whole(repo.cloud.get_remote_odb(), order["versions"])
    except Exception as error:  # noqa: BLE001 - each kind of remote raises its own
        answer["fault"] = _said(error)
    return answer


def _changed(repo: Any, targets: Sequence[str]) -> list[str]:
    return sorted(repo.status(targets)) if targets else []


def _whole(store: Any, versions: Iterable[str]) -> list[str]:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.status import status
    from dvc_objects.errors import ObjectFormatError

    found = []
    for version in versions:
        try:
            # Not shallow: a folder is there when each of its files is.
            missing = status(store, [HashInfo("md5", version)], shallow=False).missing
        except (FileNotFoundError, ObjectFormatError):
            continue
        if not missing:
            found.append(version)
    return found


def _project(order: Order) -> Any:
    from dvc.repo import Repo

    return Repo(order["project"], _wait_for_lock=True)


def _checkout(order: Order) -> Any:
    from dvc.repo import Repo

    project = _project(order)
    # What a remote gives is hashed before it is in the cache.
    remotes = {name: {**remote, "verify": True} for name, remote in project.config["remote"].items()}
    cache = {"dir": project.config["cache"].get("dir") or project.cache.default_local_cache_dir}
    core = {key: value for key, value in project.config["core"].items() if key == "remote"}
    config = {"remote": remotes, "cache": {**project.config["cache"], **cache}, "core": core}
    return Repo(order["folder"], config=config, _wait_for_lock=True)


def _said(error: Exception) -> str:
    """What an error says, without a password in the address of a remote."""
    words: list[str] = []
    link: BaseException | None = error
    while link is not None and len(words) < 3:
        text = str(link).strip() or type(link).__name__
        words += [] if any(text in known for known in words) else [text]
        link = link.__cause__
    return _CREDENTIALS.sub("://***@", ": ".join(words))


_ORDERS: dict[str, Callable[[Order], Any]] = {
    "add": add,
    "push": push,
    "pull": pull,
    "where": where,
}


def main(arguments: Sequence[str]) -> int:
    """Do one order, and print `{"answer": ...}` or `{"error": ..., "kind": ...}` as the last line."""
    logging.getLogger("dvc").setLevel(logging.ERROR)
    order = json.load(sys.stdin)
    try:
        with redirect_stdout(sys.stderr):
            result = {"answer": _ORDERS[arguments[0]](order)}
    except Exception as error:  # noqa: BLE001 - the boundary of the process: whatever DVC raises is told
        result = {"error": _said(error), "kind": type(error).__name__}
    print(json.dumps(result), flush=True)  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
