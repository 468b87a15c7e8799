"""A pipeline of scalers before a compiled model. Pure numpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.loading.compiled.linear import LinearPredictor
from mlops_sdk.serving.loading.compiled.trees import TreePredictor


@dataclass(frozen=True)
class Step:
    """One scaler, in the order in which scikit-learn computes: subtract, divide, multiply, add; None leaves out."""

    subtract: NDArray[Any] | None
    divide: NDArray[Any] | None
    multiply: NDArray[Any] | None
    add: NDArray[Any] | None

    def scaled(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The scaled matrix, a new one."""
        if self.subtract is not None:
            matrix = matrix - self.subtract
        if self.divide is not None:
            matrix = matrix / self.divide
        if self.multiply is not None:
            matrix = matrix * self.multiply
        if self.add is not None:
            matrix = matrix + self.add
        return matrix


@dataclass(frozen=True)
class PipelinePredictor:
    """`steps` before `last`."""

    steps: tuple[Step, ...]
    last: LinearPredictor | TreePredictor

    def predict(self, matrix: NDArray[Any]) -> NDArray[np.generic]:
        """The answers, first axis rows, as the model's own method gives them."""
        for step in self.steps:
            matrix = step.scaled(matrix)
        return self.last.predict(matrix)
