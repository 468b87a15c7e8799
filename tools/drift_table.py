"""`python -m tools.drift_table`: how often the drift check finds shifts, and alarms without one, beside scipy.stats.

Real data with injected shifts; writes its part of docs/explanation/drift.md. Both sides see the same samples: ours as
the model server decides; scipy.stats used straight means that a column has drifted where `ks_2samp` (numbers) or
`chi2_contingency` (categories) gives p < 0.05. The same seed gives the same table.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.drift.decision import Rules, judge
from mlops_sdk.serving.drift.statistics import Kind, kind_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "drift.md"
BEGIN, END = "<!-- drift table: begin -->", "<!-- drift table: end -->"
ROUNDS = 100
SEED = 20261127
REFERENCE_ROWS, SAMPLE_ROWS = 1_000, 500
STRAIGHT_ALPHA = 0.05

Columns = dict[str, NDArray[Any]]
Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class DataSet:
    """Real rows. Samples are drawn from them with replacement: without a shift both are of one distribution."""

    name: str
    columns: Columns

    def draw(self, rows: int, chance: np.random.Generator) -> Columns:
        """So many rows by chance."""
        place = chance.integers(0, len(next(iter(self.columns.values()))), rows)
        return {name: values[place] for name, values in self.columns.items()}

    def kinds(self) -> dict[str, Kind]:
        """How each column is compared."""
        return {name: kind_of(values) for name, values in self.columns.items()}


@dataclass(frozen=True)
class Shift:
    """One change of one column, of the kind that it can happen to."""

    name: str
    kind: Kind
    change: Change


@dataclass(frozen=True)
class Rates:
    """Of all rounds: how often the shifted column was found, and how often any other one was blamed."""

    found: float
    blamed: float


SHIFTS = (
    Shift("mean + 0.25 standard deviations", "numeric", lambda v, _: v + 0.25 * np.nanstd(v)),
    Shift("mean + 0.5 standard deviations", "numeric", lambda v, _: v + 0.5 * np.nanstd(v)),
    Shift("mean + 1 standard deviation", "numeric", lambda v, _: v + np.nanstd(v)),
    Shift("spread x 2", "numeric", lambda v, _: np.nanmean(v) + 2 * (v - np.nanmean(v))),
    Shift("another unit (x 2.54)", "numeric", lambda v, _: 2.54 * v),
    Shift("20 % missing", "numeric", lambda v, chance: np.where(chance.random(len(v)) < 0.2, np.nan, v)),
    Shift("30 % become one category", "categorical", lambda v, chance: _become(v, chance, _rarest(v))),
    Shift("30 % become an unknown category", "categorical", lambda v, chance: _become(v, chance, "unknown")),
)


def data_sets() -> Iterator[DataSet]:
    """Breast cancer and handwritten digits of scikit-learn, and the recommender's films."""
    from sklearn.datasets import load_breast_cancer, load_digits

    from pipelines.recommender.films import read_films

    cancer = load_breast_cancer(as_frame=True).data
    yield DataSet("breast cancer: 30 numbers", {str(n): cancer[n].to_numpy() for n in cancer})
    digits = load_digits(as_frame=True).data
    kept = [n for n in digits if digits[n].nunique() > 10][:20]
    yield DataSet("digits: 20 pixels of up to 17 values", {str(n): digits[n].to_numpy() for n in kept})
    found = read_films()
    numbers = {
        name: np.array([np.nan if (v := getattr(film, name)) is None else v for film in found], dtype=float)
        for name in ("year", "budget_usd", "imdb_rating")
    }
    texts = {
        name: np.array([getattr(film, name) for film in found], dtype=object) for name in ("genre", "source")
    }
    yield DataSet("films: 3 numbers with missing ones, 2 categories", {**numbers, **texts})


def ours(reference: Columns, sample: Columns, kinds: dict[str, Kind]) -> set[str]:
    """The columns that the model server would say have drifted."""
    return set(judge(reference, sample, Rules(), kinds=kinds).drifted)


def straight(reference: Columns, sample: Columns, kinds: dict[str, Kind]) -> set[str]:
    """The columns of which scipy.stats' test alone says so."""
    from scipy import stats

    found = set()
    for name, old in reference.items():
        new = sample[name]
        if kinds[name] == "numeric":
            p_value = stats.ks_2samp(old, new, nan_policy="omit").pvalue
        else:
            both = [np.array([str(value) for value in values]) for values in (old, new)]
            names = np.unique(np.concatenate(both))
            table = [[np.count_nonzero(values == each) for each in names] for values in both]
            p_value = stats.chi2_contingency(table).pvalue
        if p_value < STRAIGHT_ALPHA:
            found.add(name)
    return found


def measure(data: DataSet, shift: Shift | None, rounds: int, seed: int) -> tuple[Rates, Rates] | None:
    """Both sides' rates, ours first; None where no column is of the shift's kind."""
    kinds = data.kinds()
    able = [name for name, kind in kinds.items() if shift is None or kind == shift.kind]
    if not able:
        return None
    chance = np.random.default_rng(seed)
    counts = np.zeros((2, 2))
    for number in range(rounds):
        reference, sample = data.draw(REFERENCE_ROWS, chance), data.draw(SAMPLE_ROWS, chance)
        shifted = able[number % len(able)] if shift else None
        if shift and shifted:
            sample[shifted] = shift.change(sample[shifted], chance)
        for side, decide in enumerate((ours, straight)):
            drifted = decide(reference, sample, kinds)
            counts[side] += [shifted in drifted, bool(drifted - {shifted})]
    (a, b), (c, d) = (counts / rounds).tolist()
    return Rates(a, b), Rates(c, d)


def table(rounds: int = ROUNDS) -> str:
    """The table as Markdown."""
    lines = [
        f"{rounds} rounds a row, {REFERENCE_ROWS:,} rows of reference, {SAMPLE_ROWS} in the window, seed {SEED}.",
        "",
        "| data | shift of one column | found | another column blamed | scipy straight: found | another blamed |",
        "|---|---|---|---|---|---|",
    ]
    for data in data_sets():
        for shift in (None, *SHIFTS):
            rates = measure(data, shift, rounds, SEED)
            if rates is not None:
                lines.append(_line(data, shift, rates))
    return "\n".join(lines)


def _line(data: DataSet, shift: Shift | None, rates: tuple[Rates, Rates]) -> str:
    shown = [
        cell
        for one in rates
        for cell in ("" if shift is None else f"{100 * one.found:.1f} %", f"{100 * one.blamed:.1f} %")
    ]
    return f"| {data.name} | {shift.name if shift else 'none'} | {' | '.join(shown)} |"


def _become(values: NDArray[Any], chance: np.random.Generator, name: object) -> NDArray[Any]:
    changed = values.astype(object).copy()
    changed[chance.random(len(values)) < 0.3] = name
    return changed


def _rarest(values: NDArray[Any]) -> object:
    known = [value for value in values.tolist() if value is not None]
    return min(sorted(set(known)), key=known.count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.drift_table", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds: int = parser.parse_args(arguments).rounds
    head, found, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    if not found:
        raise SystemExit(f"{PAGE} has no place for the table")
    PAGE.write_text(f"{head}{BEGIN}\n{table(rounds)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
