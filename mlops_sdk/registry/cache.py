"""The folder of downloaded models: `CACHE/<first 12 digits of the digest>/`, each verified when it is used.

Processes share it without a lock: a folder appears whole or not at all. It must not talk to a server.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlops_sdk.registry.artifact import folder_digest
from mlops_sdk.release.digest import short


def cached(digest: str, cache: Path) -> Path | None:
    """The folder of the artifact that `digest` names; None if it is not in `cache`, or is damaged there."""
    folder = cache / short(digest)
    try:
        return folder if folder.is_dir() and folder_digest(folder) == digest else None
    except FileNotFoundError:
        return None  # another process is removing a damaged one


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
