"""A release's data: its versions from the commit, whether it can be had, and having it in the release's checkout.

In development a version may be in the project's cache alone; elsewhere it is in the remote, or the release is refused.
What is in a checkout is hashed again: DVC's word is not taken for it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mlops_sdk.data.contents import confirm, stands
from mlops_sdk.data.dvc import Dvc, Whereabouts
from mlops_sdk.errors import MlopsError, NotFoundError, PolicyError
from mlops_sdk.platform.checkout import checkout_folder
from mlops_sdk.platform.git import run_git
from mlops_sdk.release.digest import digest_of, short
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.release.versioned_data import DVC_FILE, DataFacts, LockedData, parse_dvc_file
from mlops_sdk.rollout.environment.progress import Note, Report


def locked_data(checkout: Path, paths: Iterable[str]) -> dict[str, LockedData]:
    """The versions of `paths` that the checkout's commit names.

    Raises NotFoundError for a path of which the commit has no .dvc file, InputError for a file that is none.
    """
    found = {}
    for path in paths:
        file = f"{path}{DVC_FILE}"
        try:
            text = (checkout / file).read_text(encoding="utf-8")
        except OSError as error:
            raise NotFoundError(
                f"the release's commit has no {file}",
                where="data of the manifest",
                remedy=f"`mlops data add {path}`, then commit {file}",
            ) from error
        found[path] = parse_dvc_file(text, file)
    return found


def require_data(project: Project, environment: str, lock: Lock) -> None:
    """Before anything changes: raise PolicyError naming all data that the environment cannot have.

    Outside development that is what the remote has not, wherever else it may be.
    """
    if not lock.data:
        return
    in_development = project.is_development(environment)
    missing = {
        path: version
        for path, version in lock.data.items()
        if not (in_development and _is_here(project, lock, path, version))
    }
    if not missing:
        return
    found = Dvc(project.root).where(version.md5 for version in missing.values())
    has = found.pushed | found.cached if in_development else found.pushed
    lost = [f"  {path} ({v.md5}): {_lack(v, found)}" for path, v in missing.items() if v.md5 not in has]
    if lost:
        raise PolicyError(
            f"{lock.release} cannot have its data:\n" + "\n".join(lost),
            where=environment,
            remedy="push it where it was added: `mlops data push`",
        )


def bring_data(project: Project, checkout: Path, data: Mapping[str, LockedData], report: Report) -> None:
    """Have each version in its place in the checkout, pulled where it is not, and hashed after that.

    Raises PolicyError where what came is not what was locked, MlopsError where it cannot be pulled.
    """
    missing = [
        path
        for path, version in data.items()
        if not stands(checkout / path, version, _mark(project, checkout, path))
    ]
    wrong = _differing(project, checkout, {path: data[path] for path in missing})
    if not wrong:
        return
    for path in wrong:
        report(Note(f"pulling data {path}: {data[path].words}"))
    try:
        Dvc(project.root).pull(list(wrong), checkout)
    except MlopsError as error:
        raise PolicyError(
            f"data cannot be pulled as it was locked: {error.what}",
            where=", ".join(wrong),
            remedy="`mlops data push` where that version is; a file that was damaged in the remote goes there anew",
        ) from error
    if still := _differing(project, checkout, {path: data[path] for path in wrong}):
        listed = "\n".join(
            f"  {path}: locked {data[path].md5}, there is {seen}" for path, seen in still.items()
        )
        raise PolicyError(
            f"data is not what was locked:\n{listed}",
            where=str(checkout),
            remedy="push the version that was locked again, where it was added: `mlops data push`",
        )


def data_facts(project: Project, locks: Mapping[str, Lock]) -> dict[str, tuple[DataFacts, ...]]:
    """By digest, what readiness needs to know of each release's data. Asks DVC only for what is in no checkout."""
    absent = {
        version.md5
        for lock in locks.values()
        for path, version in lock.data.items()
        if not _is_here(project, lock, path, version)
    }
    problems = _problems(project, absent) if absent else {}
    return {
        digest: tuple(
            DataFacts(path, here, "" if here else problems.get(version.md5, ""))
            for path, version in lock.data.items()
            for here in (_is_here(project, lock, path, version),)
        )
        for digest, lock in locks.items()
    }


def _problems(project: Project, versions: Iterable[str]) -> dict[str, str]:
    """Why versions cannot be pulled, by hash; those that can are left out."""
    wanted = list(versions)
    try:
        found = Dvc(project.root).where(wanted)
    except MlopsError as error:
        return dict.fromkeys(wanted, f"DVC cannot be asked: {error.what}")
    word = (
        f"the remote cannot be asked: {found.fault}"
        if found.fault
        else "neither cache nor remote has it whole"
    )
    return {version: word for version in wanted if version not in found.cached | found.pushed}


def _lack(version: LockedData, found: Whereabouts) -> str:
    if found.fault:
        return f"the remote cannot be asked: {found.fault}"
    return (
        "not pushed" if version.md5 in found.cached else "neither in the remote nor in this project's cache"
    )


def _differing(project: Project, checkout: Path, data: Mapping[str, LockedData]) -> dict[str, str]:
    """What is there instead, of those versions that are not in their places."""
    found = {path: confirm(checkout / path, v, _mark(project, checkout, path)) for path, v in data.items()}
    return {
        path: seen.md5 if seen else "nothing"
        for path, seen in found.items()
        if seen is None or seen.md5 != data[path].md5
    }


def _is_here(project: Project, lock: Lock, path: str, version: LockedData) -> bool:
    prefix = run_git(project.root, "rev-parse", "--show-prefix")
    checkout = checkout_folder(project.root.resolve(), lock.code.commit) / prefix
    return stands(checkout / path, version, _mark(project, checkout, path))


def _mark(project: Project, checkout: Path, path: str) -> Path:
    return project.root / ".mlops" / "data" / short(digest_of([str(checkout), path]))
