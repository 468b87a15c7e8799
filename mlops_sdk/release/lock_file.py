"""Lock files: `TAG.lock.yaml` beside the manifest, byte-stable, with the release's digest in it.

It must not make a lock or change one: it writes what it is given and reads what was written.
"""

import contextlib
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.yaml_reader import dotted, read_document
from mlops_sdk.release.yaml_writer import to_yaml

_HEAD = "# Written by `mlops lock`. Commit it; do not edit it: the digest covers every line.\n"


def lock_path(manifest_path: Path) -> Path:
    """Where the lock of a manifest is: `v0.0.1.yaml` has `v0.0.1.lock.yaml`."""
    return manifest_path.with_name(f"{manifest_path.name.removesuffix('.yaml')}.lock.yaml")


def lock_text(lock: Lock) -> str:
    """The text of the lock's file. Equal locks have equal texts."""
    # Through the canonical form: maps are sorted, whatever order the lock was made in.
    document = Lock.from_document(lock.document()).document()
    return _HEAD + to_yaml({"digest": lock.digest, **document})


def write_lock(path: Path, lock: Lock) -> None:
    """Writes the lock's file at once: a reader sees the old one or the new one. Mode 0644 less the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(lock_text(lock))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def read_lock(path: Path) -> Lock:
    """The lock in a file. Raises NotFoundError, or InputError for a file that is no lock or was edited."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError("no such lock", where=str(path), remedy="`mlops lock FILE` writes it") from error
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", where=str(path), remedy=_restore(path)) from error
    if (lock := _as_written(text)) is not None:
        return lock
    document = read_document(text, str(path))
    if document.faults or not isinstance(document.value, dict):
        listed = "\n".join(f"  {fault}" for fault in document.faults)
        raise InputError(f"not a lock\n{listed}", where=str(path), remedy=_restore(path))
    stored = document.value.pop("digest", None)
    lock = _parse(path, document.value)
    if lock.digest != stored:
        raise InputError(
            f"the lock was edited: its content has digest {lock.digest}, the file says {stored}",
            where=str(path),
            remedy=_restore(path),
        )
    return lock


def _as_written(text: str) -> Lock | None:
    """The lock, if the text is to the byte what `lock_text` makes of it; else None, for who can say what is wrong.

    The parser in C takes a tenth of the time and knows neither lines nor keys that stand twice: the text that is
    made of what it read does.
    """
    yaml = YAML(typ="safe", pure=find_spec("_ruamel_yaml") is None)
    try:
        document = yaml.load(text)
        stored = document.pop("digest")
        lock = Lock.from_document(document)
    except (YAMLError, ValidationError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return lock if lock.digest == stored and lock_text(lock) == text else None


def _parse(path: Path, document: dict[str, object]) -> Lock:
    if isinstance(document.get("schema"), int) and document["schema"] != 1:
        raise InputError(
            f"a lock of schema {document['schema']}; this version reads schema 1",
            where=str(path),
            remedy="use the SDK that wrote it, or a later one",
        )
    try:
        return Lock.from_document(document)
    except ValidationError as error:
        faults = "\n".join(f"  {dotted(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"not a lock\n{faults}", where=str(path), remedy=_restore(path)) from error


def _restore(path: Path) -> str:
    return f"restore it with `git checkout -- {path}`, or resolve it anew with `mlops lock --update`"


def _umask() -> int:
    # There is no way to read the umask but to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
