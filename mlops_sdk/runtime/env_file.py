"""`.env` files: `KEY=VALUE` lines with a shell's quoting, so that `set -a; . FILE` reads them too.

Only the standard library and `errors`: the launcher of processes reads the same form. It must not know keys.
"""

import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlops_sdk.errors import InputError, NotFoundError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse(text: str, *, where: str = ".env") -> dict[str, str]:
    """The variables of a `.env` text; empty lines and lines that begin with `#` are skipped.

    Raises InputError that names the line, never what is in it: it may be a secret.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, quoted = stripped.partition("=")
        if not separator or not _NAME.fullmatch(name):
            raise InputError("not KEY=VALUE", where=f"{where}:{number}")
        try:
            words = shlex.split(quoted)
        except ValueError:
            raise InputError(f"{name}: a quote is not closed", where=f"{where}:{number}") from None
        if len(words) > 1:
            raise InputError(f"{name}: a value with spaces needs quotes", where=f"{where}:{number}")
        values[name] = words[0] if words else ""
    return values


def format(values: Mapping[str, str]) -> str:
    """`values` as `.env` text, sorted by name, one line each.

    Raises InputError, without the value, for a name that is no variable's and a value with a line break or
    a NUL.
    """
    lines = []
    for name in sorted(values):
        if not _NAME.fullmatch(name):
            raise InputError(f"not the name of a variable: {name!r}")
        if any(character in values[name] for character in "\n\r\0"):
            raise InputError(f"{name}: a value of a .env file has no line break and no NUL")
        lines.append(f"{name}={shlex.quote(values[name])}\n")
    return "".join(lines)


def read(path: Path) -> dict[str, str]:
    """The variables of a file. Raises NotFoundError if there is none, InputError for a bad line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            "no such .env file", where=str(path), remedy="`mlops up ENV` writes the files of an environment"
        ) from error
    except PermissionError as error:
        raise InputError("not allowed to read this .env file", where=str(path)) from error
    return parse(text, where=str(path))


def write(path: Path, values: Mapping[str, str]) -> None:
    """Replaces the file by one with exactly `values`, mode 0600, in a folder of mode 0700, at once.

    A reader sees the old file or the new one; a kill leaves the old one.
    """
    text = format(values)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        # mkstemp creates with 0600, so the secrets are never readable by others, not for a moment.
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def load_layers(env_dir: Path, *names: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of an environment's files, later names over earlier ones, `environ` over all.

    `env_dir` is the environment's folder; `names` are files in its `env/` without `.env`, such as
    `environment`, `operator`, `release-0123456789ab`. A variable that only `environ` has is taken too.
    Raises NotFoundError for a missing file, InputError for a bad line.
    """
    values: dict[str, str] = {}
    for name in names:
        values.update(read(env_dir / "env" / f"{name}.env"))
    values.update(environ)
    return values
