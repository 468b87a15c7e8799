"""A model's artifact as a folder: its files' digest, its MLmodel file. It must not talk to a server."""

import hashlib
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.registry.models import MLmodel, artifact_digest, parse_mlmodel

MLMODEL_FILE = "MLmodel"


def folder_digest(folder: Path) -> str:
    """The digest of the artifact in `folder`, the same as of the one that was registered."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                files[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return artifact_digest(files)


def read_mlmodel(folder: Path) -> MLmodel:
    """The MLmodel file of an artifact. Raises InputError if `folder` holds no MLflow model."""
    path = folder / MLMODEL_FILE
    try:
        return parse_mlmodel_text(path.read_text(encoding="utf-8"), where=str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            "not the folder of an MLflow model: it has no MLmodel file", where=str(folder)
        ) from error


def parse_mlmodel_text(text: str, *, where: str) -> MLmodel:
    """The MLmodel file in `text`. Raises InputError that names `where`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document: Any = YAML(typ="safe", pure=True).load(text)
        return parse_mlmodel(document if isinstance(document, dict) else {})
    except (YAMLError, ValueError) as error:
        raise InputError(f"not an MLmodel file: {error}", where=where) from error
