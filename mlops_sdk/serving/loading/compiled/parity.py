"""Whether a compiled predictor answers as the model itself does: both are asked the same rows.

The rows are the model's example, and others all over the ranges that its inputs can be told to have: of the example,
of the trees' own thresholds, at them and on either side; with missing values and unknown texts where the model takes
them. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.loading.compiled.compiling import Predictor
from mlops_sdk.serving.loading.compiled.pipeline import PipelinePredictor
from mlops_sdk.serving.loading.compiled.trees import TreePredictor
from mlops_sdk.serving.slots.inputs import Inputs

ROWS = 512
# What sums of floats in another order may differ by.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_RELATIVE_SINGLE = 1e-5


@dataclass(frozen=True)
class Parity:
    """`rows` were asked; `differs` says in words what is not the same, empty if nothing is."""

    rows: int
    differs: str


def compare(own: NDArray[Any], compiled: NDArray[Any], *, single: bool) -> str:
    """What differs between two answers to the same rows, in words; empty if nothing does.

    Classes and whole numbers are equal; floats within 1e-9 of their size (1e-5 where the input is single precision).
    """
    if own.shape != compiled.shape or own.dtype != compiled.dtype:
        return f"{own.dtype} {own.shape} became {compiled.dtype} {compiled.shape}"
    if own.dtype.kind == "f":
        relative = _RELATIVE_SINGLE if single else _RELATIVE
        same = np.isclose(own, compiled, rtol=relative, atol=_ABSOLUTE, equal_nan=True)
    else:
        same = np.asarray(own == compiled)
    if same.all():
        return ""
    row = int(np.argwhere(~same)[0][0])
    wrong = int((~same.reshape(len(same), -1)).any(axis=1).sum())
    return f"{wrong} of {len(same)} rows, the first is {own[row]!r} and became {compiled[row]!r}"


def probes(inputs: Inputs, example: NDArray[Any] | None, compiled: Predictor) -> NDArray[Any]:
    """The rows to ask, of the inputs' type: the example first, then `ROWS` others. The same for the same model."""
    chance = np.random.default_rng(20_261_127)
    columns = [
        _column(inputs, number, example, thresholds, encoded, chance)
        for number, (thresholds, encoded) in enumerate(_known(compiled, inputs.width))
    ]
    rows = np.empty((ROWS, inputs.width), dtype=inputs.dtype)
    for number, values in enumerate(columns):
        rows[:, number] = chance.permutation(values)
    if inputs.missing:
        # Half of the rows have them: a tenth of their cells, and the last row nothing else.
        lost: NDArray[np.bool_] = np.asarray(chance.random(rows.shape) < 0.1)
        lost[: ROWS // 2] = False
        rows[lost] = None if inputs.has_text else np.nan
        rows[-1] = None if inputs.has_text else np.nan
    return rows if example is None else np.concatenate([example.astype(inputs.dtype), rows])


def _known(compiled: Predictor, width: int) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """For each column the thresholds that the trees have for it, and the values that are encoded."""
    steps, trees = (), compiled
    if isinstance(compiled, PipelinePredictor):
        steps, trees = compiled.steps, compiled.last  # type: ignore[assignment]
    for number in range(width):
        # Behind a scaler, thresholds are in units of their own: the example's ranges serve.
        if isinstance(trees, TreePredictor) and not steps:
            place = number if not trees.order.size else int(np.flatnonzero(trees.order == number)[0])
            forest = trees.forest
            of_column = forest.threshold[(forest.feature == place) & np.isfinite(forest.threshold)]
            yield np.unique(of_column), trees.encoder.get(number)
        else:
            yield np.empty(0), None


def _column(
    inputs: Inputs,
    number: int,
    example: NDArray[Any] | None,
    thresholds: NDArray[Any],
    encoded: NDArray[Any] | None,
    chance: np.random.Generator,
) -> NDArray[Any]:
    column = inputs.columns[number]
    if column.kind == "text":
        texts = [] if encoded is None else encoded.tolist()
        texts += [] if example is None else [each for each in example[:, number] if isinstance(each, str)]
        return np.array([*texts, "no such text"], dtype=object)[chance.integers(0, len(texts) + 1, ROWS)]
    if column.kind == "boolean":
        return chance.integers(0, 2, ROWS)
    if encoded is not None:
        near = np.concatenate([encoded.astype(float), [-1.0, float(len(encoded)) + 1]])
        values = near[chance.integers(0, len(near), ROWS)]
    else:
        values = _numbers(
            example[:, number] if example is not None else np.empty(0), thresholds, inputs, chance
        )
    return np.round(values) if column.kind == "whole" else values


def _numbers(
    example: NDArray[Any], thresholds: NDArray[Any], inputs: Inputs, chance: np.random.Generator
) -> NDArray[Any]:
    given = example.astype(float) if example.size else np.empty(0)
    seen = np.concatenate([thresholds.astype(float), given[np.isfinite(given)]])
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (-1.0, 1.0)
    spread = (high - low) or max(1.0, abs(high))
    values = chance.uniform(low - spread / 2, high + spread / 2, ROWS)
    values[:8] = [0.0, low, high, low - 10 * spread, high + 10 * spread, -1e6, 1e6, 1.0]
    if thresholds.size:
        third = ROWS // 3
        at = thresholds[chance.integers(0, len(thresholds), third)]
        kind = np.float32 if inputs.dtype == np.float32 or thresholds.dtype == np.float32 else np.float64
        sides = np.stack(
            [at, np.nextafter(at.astype(kind), kind(np.inf)), np.nextafter(at.astype(kind), kind(-np.inf))]
        )
        values[8 : 8 + third] = sides[chance.integers(0, 3, third), np.arange(third)]
    return values
