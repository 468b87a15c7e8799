"""`python -m tools.bench.serving.train URI FOLDER`: the models of the bench, registered in the MLflow server at URI.

Each is also in `FOLDER/NAME`: `model` as MLflow saves it with a tensor signature, `model.joblib` for MLServer. Prints
the requests' rows as JSON.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import joblib
import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

logging.getLogger("mlflow").setLevel(logging.ERROR)


def main() -> None:
    """Train, register, save."""
    uri, folder = sys.argv[1], Path(sys.argv[2])
    mlflow.set_tracking_uri(uri)
    iris, cancer = load_iris(return_X_y=True), load_breast_cancer(return_X_y=True)
    models: dict[str, tuple[Any, Any]] = {
        "linear": (LogisticRegression(max_iter=500), iris),
        "linear30": (LogisticRegression(max_iter=10_000), cancer),
        "trees": (RandomForestClassifier(100, random_state=0), cancer),
        "svc": (SVC(), cancer),
        "mlp": (MLPClassifier(max_iter=500, random_state=0), cancer),
    }
    rows = {}
    for name, (model, (inputs, answers)) in models.items():
        model.fit(inputs, answers)
        save = {
            "signature": infer_signature(inputs, model.predict(inputs)),
            "input_example": inputs[:2],
            "pip_requirements": ["scikit-learn"],
            "serialization_format": "cloudpickle",
        }
        mlflow.sklearn.save_model(model, str(folder / name / "model"), **save)
        mlflow.sklearn.log_model(model, name="model", registered_model_name=name, **save)
        joblib.dump(model, folder / name / "model.joblib")
        rows[name] = [[round(float(value), 3) for value in row] for row in inputs[:100]]
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
