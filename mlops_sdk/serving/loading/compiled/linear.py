"""Linear models: one product of matrices, then what the model makes of the scores. Pure numpy.

The rules are scikit-learn's (`linear_model/_base.py`, `_logistic.py`).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Answer = Literal["value", "sign", "largest", "sigmoid", "softmax"]


@dataclass(frozen=True)
class LinearPredictor:
    """`scores = matrix @ coefficients + intercept`, then `answer`.

    `coefficients` is [width] or [width, outputs], `intercept` a number or [outputs]. `answer`: `value` the scores
    themselves; `sign` the second class where the one score is above 0; `largest` the class with the largest score;
    `sigmoid` the probabilities of two classes; `softmax` of more. `classes` is empty where the answer is no class.
    """

    coefficients: NDArray[Any]
    intercept: NDArray[Any]
    answer: Answer
    classes: NDArray[Any]

    def predict(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The answers, first axis rows, as the model's own method gives them."""
        scores: NDArray[Any] = matrix @ self.coefficients + self.intercept
        found = scores
        match self.answer:
            case "value":
                pass
            case "sign":
                found = self.classes.take((scores > 0).view(np.int8))
            case "largest":
                found = self.classes.take(scores.argmax(axis=1))
            case "sigmoid":
                share = _sigmoid(scores)
                found = np.stack([1 - share, share], axis=1)
            case "softmax":
                found = softmax(scores)
        return found


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """exp(scores) over their sum by row, without overflow."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
    return result


def _sigmoid(scores: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # exp(800) is inf, and 1 / (1 + inf) the 0 that is meant
        result: NDArray[Any] = 1.0 / (1.0 + np.exp(-scores))
    return result
