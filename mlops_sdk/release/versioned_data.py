"""Files and folders of data that DVC keeps: which ones a manifest names, and the version that a lock has. Pure.

DVC's own file PATH.dvc, which is committed, holds the hash: so a commit means one version of its data. It must not
read a file or run DVC.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_sdk.errors import InputError
from mlops_sdk.release.value import Value

# DVC's hash of a folder is that of the list of its files.
DataHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
_PART = r"[^/\s\\]*[^/\s\\.][^/\s\\]*"  # of dots alone is none: it would lead elsewhere
_DATA_PATH = rf"^{_PART}(/{_PART})*$"
DataPath = Annotated[str, StringConstraints(pattern=_DATA_PATH, max_length=400)]
DVC_FILE = ".dvc"


def _as_tuple(value: object) -> object:
    # YAML and JSON have lists; a frozen record has tuples.
    return tuple(value) if isinstance(value, list) else value


def _names_each_once(paths: tuple[str, ...]) -> tuple[str, ...]:
    if named := [path for path in paths if path.endswith(DVC_FILE)]:
        raise ValueError(f"{named[0]} is DVC's file: name the data itself, {named[0].removesuffix(DVC_FILE)}")
    if len(set(paths)) != len(paths):
        raise ValueError("a path stands twice")
    return paths


DataPaths = Annotated[tuple[DataPath, ...], BeforeValidator(_as_tuple), AfterValidator(_names_each_once)]


class LockedData(Value):
    """A version of a file, or of a folder of `files` files: `md5` is the hash that DVC knows it by, `size` in bytes."""

    md5: DataHash
    size: int = Field(ge=0)
    files: int = Field(default=1, ge=0)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.md5.endswith(".dir")

    @property
    def words(self) -> str:
        """How much it is, for people."""
        size = f"{self.size:,} bytes"
        return f"{self.files:,} files, {size}" if self.is_folder else size


def require_data_path(path: str, where: str) -> str:
    """The path as it is. Raises InputError for one that no manifest could name."""
    if not re.fullmatch(_DATA_PATH, path):
        raise InputError(
            f"`{path}` cannot be a path of data",
            where=where,
            remedy="name a file or folder within the project, without spaces or backslashes: data/ratings.csv",
        )
    return path


@dataclass(frozen=True)
class DataFacts:
    """A path of the release's data: whether its version is in the release's checkout.

    Where it is not: `problem` says why it cannot be pulled either, empty where it can.
    """

    path: str
    here: bool
    problem: str = ""


def parse_dvc_file(text: str, where: str) -> LockedData:
    """The version that a file PATH.dvc names, `where` being its place. Raises InputError for what is none."""
    try:
        document: Any = YAML(typ="safe").load(text)
        (out,) = document["outs"]
        fields = {"md5": out["md5"], "size": out["size"], "files": out.get("nfiles", 1)}
        is_of_today = out.get("hash") == "md5"
        found = LockedData.from_document(fields)
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "not a DVC file of one file or folder with its md5 and size",
            where=where,
            remedy="make it again with `mlops data add PATH`",
        ) from error
    if not is_of_today:
        # Earlier versions of DVC changed line ends before they hashed, so that the hash is not of the bytes.
        raise InputError(
            "a DVC file of before version 3",
            where=where,
            remedy="make it again with `mlops data add PATH`, or all with `dvc cache migrate --dvc-files`",
        )
    return found
