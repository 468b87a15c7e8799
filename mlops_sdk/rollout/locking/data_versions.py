"""What a person does with versions of data: add and push where development is, pull and look anywhere.

Whether it is allowed is decided here; `mlops_sdk.data` does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.data.contents import version_of
from mlops_sdk.data.dvc import Dvc
from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.platform.git import files_at, run_git
from mlops_sdk.release.project import Project
from mlops_sdk.release.versioned_data import DVC_FILE, LockedData, parse_dvc_file, require_data_path


@dataclass(frozen=True)
class DataStatus:
    """A path under DVC. `committed`: HEAD has its .dvc file as it is; `here`: its place holds that version.

    `pushed` is None where the remote could not be asked, and `fault` says why.
    """

    path: str
    md5: str
    size: int
    files: int
    committed: bool
    here: bool
    cached: bool
    pushed: bool | None
    fault: str = ""

    def document(self) -> dict[str, Any]:
        """JSON data: see `docs/reference/output.md`, "data"."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def add(project: Project, environment: str, paths: Sequence[Path]) -> dict[str, LockedData]:
    """Make versions of files and folders; by path, what was made. Raises PolicyError outside development,
    NotFoundError or InputError for a path that cannot be one.
    """
    _refuse_outside_development(project, environment, "added")
    names = [_name(project, path) for path in paths]
    if missing := [name for name in names if not (project.root / name).exists()]:
        raise NotFoundError(f"there is no {', '.join(missing)}", where=str(project.root))
    Dvc(project.root).add(names)
    return _versions(project, names)


def push(project: Project, environment: str, paths: Sequence[Path]) -> tuple[dict[str, LockedData], int]:
    """Bring versions to the remote, of all data where no path is given; what was, and how many files were sent.

    Raises PolicyError outside development, and for data that was changed since it was added; NotFoundError for what
    neither cache nor remote has.
    """
    _refuse_outside_development(project, environment, "pushed")
    versions = _versions(project, _named(project, paths))
    return versions, Dvc(project.root).push(versions)


def pull(project: Project, environment: str, paths: Sequence[Path]) -> tuple[dict[str, LockedData], int]:
    """Put the versions that .dvc files name in their places, of all data where no path is given.

    What was, and how many files were fetched. Raises PolicyError where what came has another hash; outside
    development also for a .dvc file that differs from the commit's, and for what the remote has not.
    """
    versions = _versions(project, _named(project, paths))
    dvc = Dvc(project.root)
    if not project.is_development(environment):
        _refuse_uncommitted(project, list(versions))
        found = dvc.where(version.md5 for version in versions.values())
        if lost := [name for name, version in versions.items() if version.md5 not in found.pushed]:
            raise PolicyError(
                f"not in the remote: {', '.join(lost)}" + (f" ({found.fault})" if found.fault else ""),
                where=environment,
                remedy="push it where it was added: `mlops data push`",
            )
    fetched = dvc.pull(list(versions))
    for name, version in versions.items():
        seen = version_of(project.root / name)
        if seen is None or seen.md5 != version.md5:
            raise PolicyError(
                f"{name} is {seen.md5 if seen else 'not there'}, its .dvc file names {version.md5}",
                where=str(project.root),
                remedy="push that version again where it was added; what .dvcignore names is of no version: remove it",
            )
    return versions, fetched


def status(project: Project, paths: Sequence[Path]) -> list[DataStatus]:
    """How each path of data stands, of all where none is given. Changes nothing."""
    versions = _versions(project, _named(project, paths))
    if not versions:
        return []
    found = Dvc(project.root).where((version.md5 for version in versions.values()), list(versions))
    committed = _committed(project, list(versions))
    return [
        DataStatus(
            path=name,
            md5=version.md5,
            size=version.size,
            files=version.files,
            committed=committed[name],
            here=name not in found.changed,
            cached=version.md5 in found.cached,
            pushed=None if found.fault else version.md5 in found.pushed,
            fault=found.fault,
        )
        for name, version in versions.items()
    ]


def _refuse_outside_development(project: Project, environment: str, what: str) -> None:
    project.check_environment(environment)
    if not project.is_development(environment):
        raise PolicyError(
            f"data is {what} in development only, and {environment} only pulls it",
            where=environment,
            remedy="do it there, and commit the .dvc file; [tool.mlops] development names the environments",
        )


def _refuse_uncommitted(project: Project, names: Sequence[str]) -> None:
    committed = _committed(project, names)
    if changed := [f"{name}{DVC_FILE}" for name in names if not committed[name]]:
        raise PolicyError(
            f"not as HEAD has it: {', '.join(changed)}",
            where=str(project.root),
            remedy="`git checkout -- FILE` takes the commit's; a new version is added in development",
        )


def _committed(project: Project, names: Sequence[str]) -> dict[str, bool]:
    found = {}
    for name in names:
        held = files_at(project.root, ["HEAD"], f"./{name}{DVC_FILE}")["HEAD"]
        found[name] = held == (project.root / f"{name}{DVC_FILE}").read_bytes()
    return found


def _versions(project: Project, names: Sequence[str]) -> dict[str, LockedData]:
    found = {}
    for name in names:
        file = project.root / f"{name}{DVC_FILE}"
        if not file.is_file():
            raise NotFoundError(
                f"{name} is not under DVC: there is no {name}{DVC_FILE}",
                where=str(project.root),
                remedy=f"`mlops data add {name}`",
            )
        found[name] = parse_dvc_file(file.read_text(encoding="utf-8"), str(file))
    return found


def _named(project: Project, paths: Sequence[Path]) -> list[str]:
    if paths:
        return [_name(project, path) for path in paths]
    # Of git, which leaves out what is ignored: environments, checkouts.
    files = run_git(
        project.root, "ls-files", "--cached", "--others", "--exclude-standard", "--", f"*{DVC_FILE}"
    )
    return sorted(
        {file.removesuffix(DVC_FILE) for file in files.splitlines() if (project.root / file).is_file()}
    )


def _name(project: Project, path: Path) -> str:
    """The path within the project, however it was given: from the working directory, or with .dvc behind it."""
    full = Path(str(path.absolute()).removesuffix(DVC_FILE)).resolve()
    try:
        name = full.relative_to(project.root.resolve()).as_posix()
    except ValueError as error:
        raise InputError(
            f"{path} is outside of the project", where=str(project.root), remedy="data is within the project"
        ) from error
    require_data_path(name, str(project.root))
    for folder in Path(name).parents:
        if (project.root / f"{folder}{DVC_FILE}").is_file():
            raise InputError(
                f"{name} is part of {folder}, which is one version",
                where=str(project.root),
                remedy=f"name the folder: {folder}",
            )
    return name
