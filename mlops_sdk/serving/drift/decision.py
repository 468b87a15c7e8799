"""Whether columns have drifted: how far they are apart, and that chance would hardly do it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.drift.statistics import Comparison, Kind, compare, holm, kind_of


@dataclass(frozen=True)
class Rules:
    """When a column has drifted: its effect reaches one of two sizes, and its corrected p-value is below `alpha`.

    With many rows every difference is significant, with few every one is large: it takes both. `psi` 0.2: what credit
    scoring calls a significant shift. `distance` 0.15: between two normal distributions of one width, means that are
    0.38 standard deviations apart. `min_rows` 100 of each sample: below, nothing is decided.
    """

    alpha: float = 0.01
    psi: float = 0.2
    distance: float = 0.15
    min_rows: int = 100


@dataclass(frozen=True)
class ColumnDrift:
    """One column: what was found, its p-value corrected for the number of columns, and the decision."""

    name: str
    found: Comparison
    p_value: float
    drifted: bool

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.found.kind,
            "psi": round(self.found.psi, 6),
            "ks": None if self.found.distance is None else round(self.found.distance, 6),
            "p_value": self.p_value,
            "missing": {"reference": self.found.missing[0], "sample": self.found.missing[1]},
            "drifted": self.drifted,
        }


@dataclass(frozen=True)
class Report:
    """A sample beside a reference. `decided` is false when one of them has fewer than `min_rows` rows."""

    rows: tuple[int, int]
    rules: Rules
    columns: tuple[ColumnDrift, ...] = ()
    decided: bool = True

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the columns that have drifted."""
        return tuple(column.name for column in self.columns if column.drifted)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "drift": bool(self.drifted) if self.decided else None,
            "drifted": list(self.drifted),
            "rows": {"reference": self.rows[0], "sample": self.rows[1]},
            "rules": asdict(self.rules),
            "columns": {column.name: column.document() for column in self.columns},
        }


def judge(
    reference: Mapping[str, NDArray[Any]],
    sample: Mapping[str, NDArray[Any]],
    rules: Rules,
    *,
    kinds: Mapping[str, Kind] | None = None,
) -> Report:
    """Compare the columns that both have, by `kinds`, or as each column of the reference looks."""
    rows = (_rows(reference), _rows(sample))
    if min(rows) < rules.min_rows:
        return Report(rows, rules, decided=False)
    names = [name for name in reference if name in sample]
    found = [
        compare(reference[name], sample[name], (kinds or {}).get(name) or kind_of(reference[name]))
        for name in names
    ]
    p_values = holm([each.p_value for each in found])
    columns = [
        ColumnDrift(name, each, p_value, p_value < rules.alpha and _is_large(each, rules))
        for name, each, p_value in zip(names, found, p_values, strict=True)
    ]
    return Report(rows, rules, tuple(columns))


def _rows(columns: Mapping[str, NDArray[Any]]) -> int:
    return min((len(values) for values in columns.values()), default=0)


def _is_large(found: Comparison, rules: Rules) -> bool:
    return found.psi >= rules.psi or (found.distance is not None and found.distance >= rules.distance)


def columns_of(matrix: NDArray[Any], names: list[str]) -> dict[str, NDArray[Any]]:
    """The columns of a matrix by name; of one without names, by `0`, `1`, ..."""
    names = names or [str(place) for place in range(matrix.shape[1])]
    return {name: _plain(matrix[:, place]) for place, name in enumerate(names)}


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """A column of objects as numbers where all of it is."""
    if values.dtype != object:
        return values
    numbers = all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    )
    return np.array([np.nan if v is None else float(v) for v in values]) if numbers else values
