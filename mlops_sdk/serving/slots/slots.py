"""What serves: an immutable snapshot of a model version a slot, and how traffic is divided among the two.

The whole of it is replaced by one assignment; a request reads it once. Pure: loading is `loader`'s, routing `canary`'s.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mlops_sdk.serving.slots.inputs import Inputs

SlotName = Literal["current", "next"]

# A call that takes longer holds up everybody on the event loop, so it is made in the executor thread.
INLINE_AT_MOST_S = 0.002


class Predictor(Protocol):
    """What answers: compiled, or the model's own predict."""

    def predict(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """One answer a row of the matrix [rows, width], first axis rows."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One model version, ready to answer. `folder` is its verified artifact in the model cache.

    `note` says whether it is `compiled` and why. A call costs about `call_s`, and `row_s` for each row. `smoke` is
    what it answers to the example that it was registered with. `release` is the tag under a release, else None.
    """

    name: str
    version: int
    digest: str
    folder: Path
    inputs: Inputs
    predictor: Predictor
    compiled: bool
    note: str
    call_s: float
    row_s: float
    smoke: list[JsonValue] | None = None
    release: str | None = None

    @property
    def uri(self) -> str:
        """`models:/iris/3`."""
        return f"models:/{self.name}/{self.version}"

    def inline(self, rows: int) -> bool:
        """Whether so many rows are predicted on the event loop itself."""
        return self.call_s + rows * self.row_s <= INLINE_AT_MOST_S

    def warm_rows(self) -> NDArray[Any]:
        """A row that the model takes, of zeros and empty texts."""
        rows = np.zeros((1, self.inputs.width), dtype=self.inputs.dtype)
        if self.inputs.has_text:
            texts = [number for number, column in enumerate(self.inputs.columns) if column.kind == "text"]
            rows[0, texts] = ""
        return rows

    def document(self) -> dict[str, Any]:
        """What /readyz says of it."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "compiled": self.compiled,
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class Slots:
    """Both slots, and the shares: `share_of_current` of all requests (the canary probability, 0.0 to 1.0), and
    `shadow_share` of those that `current` answers are also shown to `next`. `generation` counts the changes.
    """

    current: Snapshot | None = None
    next: Snapshot | None = None
    share_of_current: float = 1.0
    shadow_share: float = 0.0
    generation: int = 0

    def changed(self, **values: Any) -> Self:
        """With other values, one generation later."""
        return replace(self, **{"generation": self.generation + 1, **values})
