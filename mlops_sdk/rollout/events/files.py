"""Release files of the project's checkout: which there are, and a new one beside them, whole or not at all."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops_sdk.errors import InputError, MovedError, NotFoundError
from mlops_sdk.release.lock_file import lock_path, read_lock
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.next_release import Released
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import Tag, parse_tag

_LOCK = ".lock.yaml"


def release_path(project: Project, tag: str) -> Path:
    """Where the manifest of a release is."""
    return project.root / "stacks" / "releases" / f"{tag}.yaml"


def known_tags(project: Project) -> list[Tag]:
    """The tags of all release files, in order; a file of another scheme counts for none.

    Raises NotFoundError where there is no release file: the first one is written by a person.
    """
    found = []
    for path in release_path(project, "x").parent.glob("*.yaml"):
        if not path.name.endswith(_LOCK):
            with contextlib.suppress(InputError):
                found.append(parse_tag(path.name.removesuffix(".yaml"), project.scheme))
    if not found:
        raise NotFoundError(
            f"there is no release file of scheme {project.scheme} to start from",
            where=str(release_path(project, "x").parent),
            remedy="write the first one by hand: see docs/reference/manifest.md",
        )
    return sorted(found)


def read_released(project: Project, tag: Tag) -> Released:
    """The release of a file, with its lock where there is one.

    Raises ManifestError, and InputError for a lock that is broken or of another content.
    """
    path = release_path(project, str(tag))
    manifest = load_manifest(path, scheme=project.scheme)
    target = lock_path(path)
    if not target.exists():
        return Released(tag, manifest)
    lock = read_lock(target)
    if lock.manifest != manifest.document_digest():
        raise InputError(
            f"the manifest was changed after {target.name} was made",
            where=str(path),
            remedy="undo the change, or resolve it anew: `mlops lock --update FILE`",
        )
    return Released(tag, manifest, lock)


def write_new(path: Path, text: str) -> Callable[[], None]:
    """Write a file that must not be there yet, at once; what is returned removes it again.

    Raises MovedError where it is there.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise MovedError(
            "this release file was written meanwhile", where=str(path), remedy="run the same command again"
        ) from error
    finally:
        Path(temporary).unlink()
    return path.unlink


@contextlib.contextmanager
def only_one(project: Project) -> Iterator[None]:
    """One event at a time in this checkout: the next release starts from the newest one that there is."""
    folder = project.root / ".mlops"
    folder.mkdir(exist_ok=True)
    with (folder / "events.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
