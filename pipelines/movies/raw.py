"""Load raw: keeps an extract as a file that is named by its digest and never changes. It must not interpret rows."""

import os
import tempfile
from pathlib import Path

import pandas as pd

from mlops_sdk.errors import NotFoundError, PolicyError
from pipelines.movies.extracting import Extract, name_rows


def raw_path(folder: Path, data_digest: str) -> Path:
    """Where the extract of a digest is kept."""
    return folder / f"{data_digest.partition(':')[2]}.parquet"


def keep_raw(extract: Extract, folder: Path) -> Path:
    """Write the extract unless it is there; its path. A kill leaves no half of a file under its name."""
    path = raw_path(folder, extract.data_digest)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(handle)
    try:
        extract.rows.to_parquet(temporary, index=False)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path


def read_raw(folder: Path, data_digest: str) -> Extract:
    """Read an extract again. Raises NotFoundError, and PolicyError for a file that is not what its name says."""
    path = raw_path(folder, data_digest)
    if not path.exists():
        raise NotFoundError(
            f"there is no extract {data_digest}", where=str(folder), remedy="run the flow: it extracts"
        )
    found = name_rows(pd.read_parquet(path))
    if found.data_digest != data_digest:
        raise PolicyError(
            f"the file holds {found.data_digest}", where=str(path), remedy="delete it and run the flow again"
        )
    return found
