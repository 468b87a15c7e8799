"""The folder of downloaded models: `CACHE/<first 12 digits of the digest>/`, each verified when it is used.

Processes share it without a lock: a folder appears whole or not at all. It must not talk to a server.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlops_sdk.registry.artifact import folder_digest
from mlops_sdk.release.digest import digest_of, short


def cached(digest: str, cache: Path) -> Path | None:
    """The folder of the artifact that `digest` names; None if it is not in `cache`, or is damaged there."""
    folder = cache / short(digest)
    try:
        return folder if folder.is_dir() and folder_digest(folder) == digest else None
    except FileNotFoundError:
        return None  # another process is removing a damaged one


def looks_cached(digest: str, cache: Path) -> bool:
    """Whether `cached` would find the artifact, without reading files again that are as they were when it did.

    As they were: the same paths, sizes and times of change. For showing only: whoever uses a model calls `cached`.
    """
    folder, note = cache / short(digest), cache / f".checked-{short(digest)}"
    try:
        stamp = f"{digest} {_stamp(folder)}"
        if note.exists() and note.read_text(encoding="utf-8") == stamp:
            return True
    except FileNotFoundError:
        return False
    if cached(digest, cache) is None:
        return False
    with contextlib.suppress(PermissionError):  # who may only read hashes again
        fresh = note.with_name(f"{note.name}.{os.getpid()}")
        fresh.write_text(stamp, encoding="utf-8")
        fresh.replace(note)
    return True


def _stamp(folder: Path) -> str:
    """The digest of paths, sizes and times of change. Raises FileNotFoundError where there is no such folder."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    facts = [
        [path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return digest_of(facts)


@contextlib.contextmanager
def empty_folder(cache: Path) -> Iterator[Path]:
    """An empty folder in `cache` to download into; what was not kept is removed."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "model"
        folder.mkdir()
        yield folder


def keep(folder: Path, digest: str, cache: Path) -> Path:
    """Moves a downloaded folder to its place in `cache`; one that is there already and right stays."""
    # Services may run as another account than the one that downloads.
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    target = cache / short(digest)
    while True:
        try:
            # A rename replaces nothing but an empty folder: what another process kept meanwhile stays.
            folder.rename(target)
            return target
        except OSError:
            if cached(digest, cache):
                return target
            if not target.exists():
                raise
            _remove_damaged(target)


def _remove_damaged(folder: Path) -> None:
    # Moved first: a folder is in its place whole or not at all, also while it is removed.
    with (
        tempfile.TemporaryDirectory(
            prefix=".damaged-", dir=folder.parent, ignore_cleanup_errors=True
        ) as rest,
        contextlib.suppress(FileNotFoundError),
    ):
        shutil.move(folder, Path(rest) / "model")
