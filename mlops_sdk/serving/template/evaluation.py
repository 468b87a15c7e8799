"""How good answers are beside what was right. Pure: arrays in, numbers out."""

from typing import Any

from mlops_sdk.serving.template.trainers import Task


def evaluate(known: Any, answers: Any, task: Task) -> dict[str, float]:
    """Accuracy and macro-averaged F1, precision and recall; or root mean squared error, mean absolute error and R2.

    As scikit-learn's metrics of these names define them; a class that was never answered has precision 0.
    """
    import numpy as np
    from sklearn import metrics

    known, answers = np.asarray(known), np.asarray(answers)
    if task == "regression":
        known, answers = known.astype(float), answers.astype(float)
        found = {
            "rmse": metrics.root_mean_squared_error(known, answers),
            "mae": metrics.mean_absolute_error(known, answers),
            "r2": metrics.r2_score(known, answers),
        }
    else:
        known, answers = known.astype(str), answers.astype(str)
        averaged = {"average": "macro", "zero_division": 0}
        found = {
            "accuracy": metrics.accuracy_score(known, answers),
            "f1": metrics.f1_score(known, answers, **averaged),
            "precision": metrics.precision_score(known, answers, **averaged),
            "recall": metrics.recall_score(known, answers, **averaged),
        }
    return {name: float(value) for name, value in found.items()}
