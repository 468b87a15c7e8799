"""What a file or folder on disk holds, as the hash that DVC would give it; and a mark that saves hashing it again.

It must not run DVC: what DVC has put there is checked against the release without taking DVC's word for it.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mlops_sdk.release.versioned_data import LockedData

_FOLDER_MARK = ".dir"


def version_of(path: Path) -> LockedData | None:
    """The version that is at `path`; None where nothing is. Reads every byte."""
    if path.is_file():
        return LockedData(md5=_file_hash(path), size=path.stat().st_size)
    if not path.is_dir():
        return None
    files = list(_files(path))
    entries = [{"md5": _file_hash(file), "relpath": name} for name, file in files]
    # The bytes that DVC keeps for a folder: a list by name, as json.dumps writes it.
    listed = json.dumps(entries, sort_keys=True).encode()
    size = sum(file.stat().st_size for _, file in files)
    digest = hashlib.md5(listed, usedforsecurity=False).hexdigest()
    return LockedData(md5=digest + _FOLDER_MARK, size=size, files=len(files))


def stands(path: Path, version: LockedData, mark: Path) -> bool:
    """Whether `mark` says that `path` was seen to hold the version, and nothing there was touched since. Cheap."""
    try:
        return path.exists() and mark.read_text(encoding="utf-8") == _marked(path, version)
    except OSError:
        return False


def confirm(path: Path, version: LockedData, mark: Path) -> LockedData | None:
    """What is at `path`; where that is the version, `mark` says so from now on."""
    touched = _marked(path, version)  # before reading: a later change makes another mark
    found = version_of(path)
    if found is not None and found.md5 == version.md5:
        mark.parent.mkdir(parents=True, exist_ok=True)
        fresh = mark.with_name(f"{mark.name}.{os.getpid()}")
        fresh.write_text(touched, encoding="utf-8")
        fresh.replace(mark)
    return found


def _marked(path: Path, version: LockedData) -> str:
    """The version, and size and time of change (ns) of each file."""
    seen = hashlib.sha256(version.md5.encode())
    for name, file in [("", path)] if path.is_file() else _files(path):
        stat = file.stat()
        seen.update(json.dumps([name, stat.st_size, stat.st_mtime_ns, stat.st_ino]).encode())
    return seen.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below, by the name that DVC knows it by, in DVC's order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    yield from sorted((path.relative_to(folder).as_posix(), path) for path in found)


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
