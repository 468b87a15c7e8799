"""Reads and writes `stacks/Pulumi.ENV.yaml`: comments, order and encrypted values stay as they are.

Must not decide what belongs into it: `config` does.
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.stack import config
from mlops_sdk.stack.config import Basis, ReleaseSection
from mlops_sdk.stack.ports import free_ports

if TYPE_CHECKING:
    from ruamel.yaml import YAML


@dataclass(frozen=True)
class ConfigFile:
    """The stack config of one environment in `folder`; beside it the committed example that it is made of."""

    folder: Path
    environment: str

    @property
    def path(self) -> Path:
        return self.folder / f"Pulumi.{self.environment}.yaml"

    @property
    def example(self) -> Path:
        return self.folder / f"Pulumi.{self.environment}.example.yaml"

    def read(self) -> Any:
        """The document, as a mapping that remembers comments.

        Raises NotFoundError when there is none, InputError when it is no YAML mapping.
        """
        return read(self.path, self.environment)

    def write(self, document: Any, path: Path | None = None) -> Path:
        """Writes the document at once, to `path` in place of the stack's own file if given; returns where."""
        target = path or self.path
        text = StringIO()
        _yaml().dump(_quoted_keys(document), text)
        _replace(target, text.getvalue())
        return target

    def render(
        self,
        releases: Iterable[ReleaseSection],
        *,
        live: str | None,
        basis: Basis | None,
        path: Path | None = None,
    ) -> Path:
        """Writes the file with this release part (see `config.render`); returns where it was written."""
        return self.write(config.render(self.read(), releases, live=live, basis=basis), path)

    def has(self, name: str) -> bool:
        """Whether the config has a value `mlops-sdk:NAME`."""
        return f"{config.PROJECT}:{name}" in (self.read().get("config") or {})

    def create_missing(self) -> None:
        """Makes the file from the example, and gives a free port to each server that has none yet.

        Raises NotFoundError when there is neither.
        """
        source = self.path if self.path.exists() else self.example
        if not source.exists():
            raise NotFoundError(
                f"environment {self.environment} has no stack config",
                where=str(self.path),
                remedy=f"write {self.example.name} beside it and commit it; for one of kind local,"
                " Pulumi.local.example.yaml is what to begin with",
            )
        document = read(source, self.environment)
        if config.kind_of(document) != "local":
            if source == self.example:
                self.write(document)
            return  # servers on a cluster have fixed ports
        values = document.setdefault("config", {})
        ports = values.setdefault(f"{config.PROJECT}:ports", {})
        missing = [name for name in config.PORTS if not ports.get(name)]
        if missing or source == self.example:
            ports.update(zip(missing, free_ports(len(missing), self.ports_of_others()), strict=True))
            self.write(document)

    def ports_of_others(self) -> set[int]:
        """Ports that other environments of this folder have, also while nobody listens on them."""
        found: set[int] = set()
        for path in self.folder.glob("Pulumi.*.yaml"):
            if path not in (self.path, self.example):
                with suppress(
                    InputError, NotFoundError
                ):  # that environment says so itself, when it is asked for
                    found |= config.taken_ports(read_plain(path))
        return found

    def forget_secrets(self) -> None:
        """Drops every encrypted value and the salt: their passphrase is gone, so they say nothing.

        What only a person can give again stays as an empty value: its absence would mean something else.
        """
        if not self.path.exists():
            return
        document = self.read()
        document.pop("encryptionsalt", None)
        values = document.get("config") or {}
        for key in [key for key, value in values.items() if _is_secure(value)]:
            if key.removeprefix(f"{config.PROJECT}:") in (config.POSTGRES_URL, config.ALERT_WEBHOOK):
                values[key] = ""
            else:
                del values[key]
        self.write(document)


def read(path: Path, environment: str = "ENV") -> Any:
    """The document of a config file; errors as `ConfigFile.read`."""
    return _load(path, environment, _yaml())


def read_plain(path: Path, environment: str = "ENV") -> Any:
    """The document as plain values, for those who only look: 10 times faster than `read`; errors as there."""
    return _load(path, environment, _fast_yaml())


def _load(path: Path, environment: str, yaml: "YAML") -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        document = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        remedy = f"`mlops up {environment}` makes it."
        raise NotFoundError("no such stack config", where=str(path), remedy=remedy) from error
    except YAMLError as error:
        raise InputError(f"not valid YAML: {error}", where=str(path)) from error
    if not isinstance(document, dict):
        raise InputError("not a stack config: a mapping is wanted", where=str(path))
    return document


def _fast_yaml() -> "YAML":
    """A parser in C where ruamel brings it; it reads as the other does, by the rules of YAML 1.2."""
    from importlib.util import find_spec

    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=find_spec("_ruamel_yaml") is None)


def _yaml() -> "YAML":
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 110
    return yaml


def _quoted_keys(value: Any) -> Any:
    """Quotes keys that are hex digits, in place: another YAML reader might take `123e45` for a number."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    values = value.get("config") or {}
    releases = values.get(f"{config.PROJECT}:releases")
    if releases:
        values[f"{config.PROJECT}:releases"] = {
            DoubleQuotedScalarString(key): section for key, section in releases.items()
        }
    return value


def _is_secure(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
