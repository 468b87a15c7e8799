"""Ensembles of trees: all trees of all rows go down one level at a time, as one array. Pure numpy.

The rules are scikit-learn's: `tree/_tree.pyx` (float32 features), `_hist_gradient_boosting/_predictor.pyx` (float64).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.loading.compiled.linear import softmax

# Elements (rows x trees) that go down together: more would leave the processor's cache.
_TOGETHER = 16_384
_CODES = 256  # of a category; scikit-learn has at most 255

Answer = Literal["value", "sign", "sign_or_zero", "largest", "sigmoid", "softmax", "exp"]


@dataclass(frozen=True)
class Forest:
    """Nodes of every tree in one table; `children[2 n]` is where node n goes for `x <= threshold`, `[2 n + 1]` else.

    A leaf is its own child. `roots` is [trees]. `value` is [nodes, outputs]: of each leaf what it adds. `missing_right`
    [nodes] says where a missing value goes. Where `category` [nodes] (empty: no tree splits by one) is not -1, its row
    of `left` [splits, 256] says which codes go left.
    """

    feature: NDArray[np.intp]
    threshold: NDArray[Any]
    children: NDArray[np.intp]
    roots: NDArray[np.intp]
    depth: int
    value: NDArray[np.float64]
    missing_right: NDArray[np.bool_]
    category: NDArray[np.intp]
    left: NDArray[np.bool_]

    def leaves(self, matrix: NDArray[Any]) -> NDArray[np.intp]:
        """The leaf of each tree and row: [trees, rows]."""
        rows, width = matrix.shape
        flat = np.ascontiguousarray(matrix).ravel()
        base = np.arange(0, rows * width, width)
        node = np.repeat(self.roots, rows).reshape(len(self.roots), rows)
        step = self._step_exactly if self._is_special(matrix) else self._step
        for _ in range(self.depth):
            node = step(flat, base, node)
        return node

    def _is_special(self, matrix: NDArray[Any]) -> bool:
        return self.category.size > 0 or bool(np.isnan(matrix.sum()))

    def _step(self, flat: NDArray[Any], base: NDArray[np.intp], node: NDArray[np.intp]) -> NDArray[np.intp]:
        values = flat.take(self.feature.take(node) + base)
        return self.children.take(2 * node + (values > self.threshold.take(node)))

    def _step_exactly(
        self, flat: NDArray[Any], base: NDArray[np.intp], node: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """With missing values and categories."""
        values = flat.take(self.feature.take(node) + base)
        missing = np.isnan(values)
        right = values > self.threshold.take(node)
        if self.category.size:
            split = self.category.take(node)
            by_code = (split >= 0) & ~missing
            code = np.where(by_code, values, 0).astype(np.intp)
            goes_left = self.left.ravel().take(np.where(by_code, split, 0) * _CODES + code)
            right = np.where(by_code, ~goes_left, right)
        right = np.where(missing, self.missing_right.take(node), right)
        return self.children.take(2 * node + right)


@dataclass(frozen=True)
class TreePredictor:
    """A forest and what becomes of its sums.

    Of each output the values of its trees are added to `baseline` [outputs] and multiplied by `scale`. Trees of an
    output are every `outputs`-th one, unless `shared`: then each leaf has a value for every output. `answer` is made
    of the sums [rows, outputs]; `classes` is empty where it is no class. `encoder` has for each column that is encoded
    before the trees see it the sorted values, whose places are the codes; `order` is the trees' order of columns.
    """

    forest: Forest
    shared: bool
    baseline: NDArray[np.float64]
    scale: float
    answer: Answer
    classes: NDArray[Any]
    flat: bool
    dtype: str
    order: NDArray[np.intp]
    encoder: dict[int, NDArray[Any]]

    def predict(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The answers, first axis rows, as the model's own method gives them."""
        if self.encoder:
            matrix = self._encoded(matrix)
        elif matrix.dtype != self.dtype:
            matrix = matrix.astype(self.dtype)
        if self.order.size:
            matrix = matrix[:, self.order]
        most = max(1, _TOGETHER // len(self.forest.roots))
        if len(matrix) <= most:
            sums = self._sums(matrix)
        else:
            sums = np.concatenate(
                [self._sums(matrix[first : first + most]) for first in range(0, len(matrix), most)]
            )
        return self._answer(sums)

    def _encoded(self, matrix: NDArray[Any]) -> NDArray[Any]:
        found = np.empty(matrix.shape, dtype=self.dtype)
        for column in range(matrix.shape[1]):
            values = self.encoder.get(column)
            found[:, column] = matrix[:, column] if values is None else codes(matrix[:, column], values)
        return found

    def _sums(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        leaves, outputs = self.forest.leaves(matrix), len(self.baseline)
        if self.shared:
            added = self.forest.value.take(leaves, axis=0).sum(axis=0)
        else:
            values = self.forest.value[:, 0].take(leaves)
            added = values.reshape(-1, outputs, len(matrix)).sum(axis=0).T
        result: NDArray[np.float64] = added * self.scale + self.baseline
        return result

    def _answer(self, sums: NDArray[np.float64]) -> NDArray[Any]:
        found: NDArray[Any]
        match self.answer:
            case "value":
                found = sums[:, 0] if self.flat else sums
            case "exp":
                found = np.exp(sums[:, 0])
            case "sign":
                found = self.classes.take((sums[:, 0] > 0).view(np.int8))
            case "sign_or_zero":
                found = self.classes.take((sums[:, 0] >= 0).view(np.int8))
            case "largest":
                found = self.classes.take(sums.argmax(axis=1))
            case "sigmoid":
                with np.errstate(over="ignore"):
                    share = 1.0 / (1.0 + np.exp(-sums[:, 0]))
                found = np.stack([1 - share, share], axis=1)
            case "softmax":
                found = softmax(sums)
        return found


def codes(values: NDArray[Any], known: NDArray[Any]) -> NDArray[np.float64]:
    """The place of each value among the sorted `known` ones; NaN for others and for missing ones."""
    if known.dtype == object:
        places = {value: float(place) for place, value in enumerate(known.tolist())}
        return np.array([places.get(value, np.nan) for value in values.tolist()], dtype=np.float64)
    given = values.astype(np.float64)
    place = np.searchsorted(known, given)
    place[place == len(known)] = 0
    return np.where(known.take(place) == given, place.astype(np.float64), np.nan)
