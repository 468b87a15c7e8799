"""How far a sample of one column is from a reference, and how likely chance alone is. Pure: arrays in, numbers out.

* D = sup |F(x) - G(x)|, the two-sample Kolmogorov-Smirnov distance, with the asymptotic p-value (N. Smirnov, Table for
  estimating the goodness of fit of empirical distributions, 1948), as scipy.stats.ks_2samp has it.
* PSI = sum (p - q) ln(p / q) over bins or categories (N. Siddiqi, Credit Risk Scorecards, 2006), binned as
  `mlops_sdk.release.drift` bins: by tenths of the reference, half a count added to each bin.
* chi-squared of homogeneity on the table of two samples by categories (K. Pearson, 1900), without Yates' correction,
  as scipy.stats.chi2_contingency has it; categories of which fewer than 5 are expected are taken together (W. Cochran,
  Some methods for strengthening the common chi-squared tests, 1954).
* Holm's step-down correction: of m p-values in ascending order, p(i) (m - i + 1), made monotone (S. Holm, A simple
  sequentially rejective multiple test procedure, 1979). It holds for dependent columns too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.release.drift import bins_for, index_of_counts

Kind = Literal["numeric", "categorical"]
FEW_VALUES = 10
"""A column of whole numbers with at most so many values in the reference is one of categories."""
_EXPECTED = 5.0
_MISSING = "(missing)"
_OTHERS = "(others)"


@dataclass(frozen=True)
class Comparison:
    """One column of a sample beside the reference.

    `distance` is D of numeric columns, None of categorical ones. `p_value` is that of the column's test, before any
    correction. `missing` is the share of missing values in reference and sample.
    """

    kind: Kind
    psi: float
    distance: float | None
    p_value: float
    missing: tuple[float, float]


def kind_of(reference: NDArray[Any]) -> Kind:
    """Whether a column is compared by its numbers or by its categories."""
    if reference.dtype.kind == "f":
        return "numeric"
    if reference.dtype.kind in "iu":
        return "numeric" if len(np.unique(reference)) > FEW_VALUES else "categorical"
    return "categorical"


def compare(reference: NDArray[Any], sample: NDArray[Any], kind: Kind) -> Comparison:
    """One column of `sample` beside `reference`, both one-dimensional and not empty.

    Missing values (None, NaN) are a category of their own. Of a numeric column the p-value is the smaller one of the
    numbers' and of the share of missing ones, corrected for being two.
    """
    if kind == "categorical":
        return _compare_categories(reference, sample)
    old, new = (np.asarray(values, dtype=float) for values in (reference, sample))
    lost_old, lost_new = np.isnan(old), np.isnan(new)
    missing = (float(lost_old.mean()), float(lost_new.mean()))
    old, new = old[~lost_old], new[~lost_new]
    psi = _numeric_index(old, new, int(lost_old.sum()), int(lost_new.sum()))
    distance, p_value = (0.0, 1.0) if not len(old) or not len(new) else kolmogorov_smirnov(old, new)
    if any(missing):
        table = np.array([[len(old), lost_old.sum()], [len(new), lost_new.sum()]], dtype=float)
        p_value = min(1.0, 2 * min(p_value, chi_squared(table)))
        distance = max(distance, abs(missing[1] - missing[0]))
    return Comparison("numeric", psi, distance, p_value, missing)


def kolmogorov_smirnov(reference: NDArray[Any], sample: NDArray[Any]) -> tuple[float, float]:
    """D and its p-value. Ties make the p-value too large, never too small."""
    from scipy import stats

    if len(reference) * len(sample) < len(reference) + len(
        sample
    ):  # of one value each: scipy divides by zero
        return float(reference[0] != sample[0]), 1.0
    found = stats.ks_2samp(reference, sample, method="asymp")
    return float(found.statistic), float(found.pvalue)


def chi_squared(table: NDArray[Any]) -> float:
    """The p-value of a table [2, categories] of counts; rare categories are taken together first."""
    from scipy import stats

    table = table[:, table.sum(axis=0) > 0]
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    rare = expected < _EXPECTED
    if rare.sum() > 1:
        table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    if table.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values as they count when so many hypotheses are tested at once, in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def _numeric_index(old: NDArray[Any], new: NDArray[Any], lost_old: int, lost_new: int) -> float:
    if not len(old):
        return index_of_counts([0, lost_old], [len(new), lost_new])
    bins = bins_for(min(len(old), len(new)))
    ordered = np.sort(old)
    edges = np.unique(ordered[[len(ordered) * k // bins for k in range(1, bins)]])
    counts = [
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        for values in (old, new)
    ]
    if lost_old or lost_new:
        counts = [np.append(count, lost) for count, lost in zip(counts, (lost_old, lost_new), strict=True)]
    return index_of_counts(counts[0].tolist(), counts[1].tolist())


def _compare_categories(reference: NDArray[Any], sample: NDArray[Any]) -> Comparison:
    old, new = _categories(reference), _categories(sample)
    common, counts = np.unique(old, return_counts=True)
    # As many categories as the smaller sample fills: else the index of two samples of one distribution is large.
    most = max(2, min(len(old), len(new)) // 20)
    kept = common[np.argsort(-counts, kind="stable")[: most - 1]]
    names = [*kept.tolist(), _OTHERS]
    place = {name: index for index, name in enumerate(names)}
    table = np.zeros((2, len(names)))
    for row, values in enumerate((old, new)):
        for name, count in zip(*np.unique(values, return_counts=True), strict=True):
            table[row, place.get(str(name), len(names) - 1)] += count
    table = table[:, table.sum(axis=0) > 0]
    psi = index_of_counts(table[0].tolist(), table[1].tolist())
    missing = (float((old == _MISSING).mean()), float((new == _MISSING).mean()))
    return Comparison("categorical", psi, None, chi_squared(table), missing)


def _categories(values: NDArray[Any]) -> NDArray[Any]:
    """The values as text, so that 1, 1.0 and True of different sources are one category."""
    return np.array([_category(value) for value in values.tolist()], dtype=str)


def _category(value: object) -> str:
    if value is None or value != value:
        return _MISSING
    if isinstance(value, bool | int | float) and float(value).is_integer():
        return str(int(value))
    return str(value)
