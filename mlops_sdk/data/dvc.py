"""DVC as the SDK asks it: each order is done by a child process that imports DVC and ends.

It must not decide what is allowed, and it knows nothing of releases.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlops_sdk.errors import DeadlineError, InputError, MlopsError, NotFoundError, PolicyError
from mlops_sdk.release.versioned_data import LockedData

_TIMEOUT_S = 6 * 3600.0  # a first pull may be of a terabyte
_INPUT_FAULTS = (
    "OutputAlreadyTrackedError",
    "OutputDuplicationError",
    "OverlappingOutputPathsError",
    "StageFileBadNameError",
    "OutputIsIgnoredError",
)
_SET_UP = "set DVC up once: `dvc init`, `dvc remote add -d NAME ADDRESS`, then commit .dvc"


@dataclass(frozen=True)
class Whereabouts:
    """Hashes of versions that are whole in the project's cache and in its remote. `fault`: why of the remote
    nothing is known, else empty. `changed` are paths whose place holds another version than PATH.dvc names, or none.
    """

    cached: frozenset[str]
    pushed: frozenset[str]
    fault: str = ""
    changed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Dvc:
    """DVC of the project at `project`, a folder in a git repository that DVC was set up in."""

    project: Path

    def add(self, paths: Sequence[str]) -> None:
        """Take files and folders into the cache and write PATH.dvc beside each.

        Raises NotFoundError for a path that is not there, InputError for one that DVC cannot take.
        """
        self._order("add", targets=[str(self.project / path) for path in paths])

    def push(self, versions: Mapping[str, LockedData]) -> int:
        """Bring the versions that PATH.dvc names, by their paths, to the remote; how many files were sent.

        Raises PolicyError, and sends nothing, where a path holds something else than its version; NotFoundError for
        one that the remote has not afterwards, because the cache has not all of it.
        """
        paths = list(versions)
        present = [path for path in paths if (self.project / path).exists()]
        answer = self._order(
            "push",
            targets=_dvc_files(self.project, paths),
            present=_dvc_files(self.project, present),
            versions=[version.md5 for version in versions.values()],
        )
        if changed := sorted(self._paths(answer["changed"], present)):
            raise PolicyError(
                f"changed since it was added: {', '.join(changed)}",
                where=str(self.project),
                remedy=f"`mlops data add {' '.join(changed)}` makes a version of it, `mlops data pull` takes it back",
            )
        if lost := [path for path, version in versions.items() if version.md5 not in answer["pushed"]]:
            raise NotFoundError(
                f"not in the cache, so it could not be pushed: {', '.join(lost)}",
                where=str(self.project),
                remedy="push it from where it was added, or add it again",
            )
        return int(answer["sent"])

    def pull(self, paths: Sequence[str], folder: Path | None = None) -> int:
        """Put what PATH.dvc of `folder` (the project itself, or a checkout of it) names in its place.

        What was there is replaced. How many files were fetched from the remote.
        """
        place = folder or self.project
        return int(self._order("pull", folder=str(place), targets=_dvc_files(place, paths)))

    def where(self, versions: Iterable[str], paths: Sequence[str] = ()) -> Whereabouts:
        """Where versions are, by their hashes, and which of `paths` were changed since.

        A remote that does not answer is no error.
        """
        answer = self._order("where", versions=sorted(set(versions)), targets=_dvc_files(self.project, paths))
        cached, pushed = frozenset(answer["cached"]), frozenset(answer["pushed"])
        return Whereabouts(cached, pushed, answer["fault"], self._paths(answer["changed"], paths))

    def _paths(self, changed: Iterable[str], paths: Sequence[str]) -> frozenset[str]:
        """Which of `paths` DVC means: it names .dvc files from its working directory, the project."""
        found = {(self.project / name).resolve() for name in changed}
        files = zip(paths, _dvc_files(self.project, paths), strict=True)
        return frozenset(path for path, file in files if Path(file).resolve() in found)

    def _order(self, verb: str, **order: Any) -> Any:
        if find_spec("dvc") is None:
            raise InputError(
                "DVC is not installed in the SDK's environment",
                where=sys.prefix,
                remedy="install the SDK with its extra `data`: mlops-sdk[data]",
            )
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "mlops_sdk.data.dvc_child", verb],
                cwd=self.project,
                # A remote's credentials may be in the person's variables, where DVC looks for them.
                env={**os.environ, "DVC_NO_ANALYTICS": "true"},
                input=json.dumps({"project": str(self.project), **order}),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                f"DVC did not end within {_TIMEOUT_S:.0f} s", where=str(self.project)
            ) from error
        try:
            result = json.loads(done.stdout)
        except json.JSONDecodeError as error:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise MlopsError(f"DVC ended without an answer: {last[0]}", where=str(self.project)) from error
        if "error" in result:
            raise self._error(result["kind"], result["error"])
        return result["answer"]

    def _error(self, kind: str, said: str) -> MlopsError:
        where = str(self.project)
        if kind == "NotDvcRepoError":
            return NotFoundError("DVC was not set up in this project", where=where, remedy=_SET_UP)
        if kind == "NoRemoteError":
            return NotFoundError("DVC has no remote to bring data to", where=where, remedy=_SET_UP)
        if kind in ("OutputDoesNotExistError", "StageFileDoesNotExistError"):
            return NotFoundError(f"DVC: {said}", where=where, remedy="name what is there, by its path")
        if kind in _INPUT_FAULTS:
            return InputError(f"DVC: {said}", where=where)
        return MlopsError(
            f"DVC: {said}", where=where, remedy="`dvc doctor` and `dvc remote list` there say more"
        )


def _dvc_files(folder: Path, paths: Sequence[str]) -> list[str]:
    return [str(folder / f"{path}.dvc") for path in paths]
