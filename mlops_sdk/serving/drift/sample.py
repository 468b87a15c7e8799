"""The drift reference: a sample that is held out of a model version's training data, kept and found again by its tags.

A version's tags say where its sample is and which bytes it has. It must not compare anything.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.registry.runs import Runs

if TYPE_CHECKING:
    import pandas as pd

URI_TAG = "mlops.drift_sample.uri"
SHA256_TAG = "mlops.drift_sample.sha256"
FILE = "drift-sample.parquet"
SHARE = 0.2
_REMEMBERED = 8
MOST_ROWS = 5_000
"""More would make no decision finer: with 5,000 rows the smallest D that is told from chance is about 0.03."""


@dataclass(frozen=True)
class StoredSample:
    """Where a sample is, and the SHA-256 of its file in hex."""

    uri: str
    sha256: str

    def tags(self) -> dict[str, str]:
        """The tags of the model version."""
        return {URI_TAG: self.uri, SHA256_TAG: self.sha256}


def hold_out(
    frame: "pd.DataFrame", *, seed: int, share: float = SHARE, most: int = MOST_ROWS
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows to train with, and the sample: a share of them by chance. Raises InputError for fewer than 10 rows."""
    if len(frame) < 10:
        raise InputError(f"{len(frame)} rows are too few to train with and to hold a sample out of")
    count = min(most, max(1, round(len(frame) * share)))
    order = np.random.default_rng(seed).permutation(len(frame))
    return frame.iloc[np.sort(order[count:])], frame.iloc[np.sort(order[:count])]


def to_bytes(sample: "pd.DataFrame") -> bytes:
    """The sample's file: Parquet, without an index."""
    buffer = io.BytesIO()
    sample.rename(columns=str).to_parquet(buffer, index=False)
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """The digest that the tag holds."""
    return hashlib.sha256(data).hexdigest()


def columns_of_frame(frame: "pd.DataFrame") -> dict[str, NDArray[Any]]:
    """The columns of a frame as arrays; missing values are None or NaN."""
    found = {}
    for name in frame.columns:
        column = frame[name]
        if getattr(column.dtype, "kind", "O") not in "fiub":
            column = column.astype(object).where(column.notna(), None)
        found[str(name)] = column.to_numpy()
    return found


class Samples:
    """Samples that were read once: a version's does not change. The latest few are remembered."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._known: dict[tuple[str, int], Mapping[str, NDArray[Any]]] = {}

    def of(self, name: str, version: int) -> Mapping[str, NDArray[Any]]:
        """As `read_sample`. Takes as long as reading a file does; call it in a thread."""
        found = self._known.get((name, version))
        if found is None:
            found = read_sample(self._runs, name, version)
            while len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)), None)
            self._known[name, version] = found
        return found


def read_sample(runs: Runs, name: str, version: int) -> Mapping[str, NDArray[Any]]:
    """The columns of the sample that is tied to a model version.

    Raises NotFoundError where the version has none, PolicyError where the file is not the one that was tied to it,
    UnreachableError where it cannot be had now.
    """
    import pandas as pd

    tags = runs.version_tags(name, version)
    uri, digest = tags.get(URI_TAG), tags.get(SHA256_TAG)
    if not uri or not digest:
        raise NotFoundError(
            f"no drift sample is tied to {name} version {version}",
            where=runs.uri,
            remedy=f"train it by /train, or set the tags {URI_TAG} and {SHA256_TAG}",
        )
    data = runs.read_file(uri)
    if sha256(data) != digest:
        raise PolicyError(
            f"the drift sample of {name} version {version} is not the one that was tied to it",
            where=uri,
            remedy="it was changed after the training; train a new version",
        )
    return columns_of_frame(pd.read_parquet(io.BytesIO(data)))
