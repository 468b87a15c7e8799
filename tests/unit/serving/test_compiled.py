"""Compiled predictors answer as the models that they were compiled from, or are not used."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlops_sdk.serving.loading.compiled.compiling import compile_estimator
from mlops_sdk.serving.loading.compiled.parity import compare
from mlops_sdk.serving.loading.compiled.storing import read_predictor, write_predictor
from tests.support.serving import (
    column_signature,
    prepare_folder,
    snapshot_of,
    tensor_signature,
    write_model,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:X does not have", "ignore:lbfgs failed", "ignore:Maximum number"
)

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
BOTH = ("predict", "predict_proba")

CASES: list[tuple[Any, Any, tuple[str, ...]]] = [
    (LogisticRegression(max_iter=300), IRIS, (*BOTH, "decision_function")),
    (LogisticRegression(max_iter=300), CANCER, (*BOTH, "decision_function")),
    (RidgeClassifier(), CANCER, ("predict",)),
    (LinearSVC(), IRIS, ("predict", "decision_function")),
    (SGDClassifier(random_state=0), IRIS, ("predict",)),
    (Perceptron(), CANCER, ("predict",)),
    *(
        (model, DIABETES, ("predict",))
        for model in (LinearRegression(), Ridge(), Lasso(), ElasticNet(), SGDRegressor(tol=0.1))
    ),
    (make_pipeline(StandardScaler(), LogisticRegression()), CANCER, BOTH),
    (make_pipeline(RobustScaler(), MinMaxScaler(), Ridge()), DIABETES, ("predict",)),
    (make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)), IRIS, BOTH),
    (DecisionTreeClassifier(random_state=0), IRIS, BOTH),
    (DecisionTreeRegressor(random_state=0), DIABETES, ("predict",)),
    (RandomForestClassifier(50, random_state=0), CANCER, BOTH),
    (RandomForestRegressor(30, random_state=0), DIABETES, ("predict",)),
    (ExtraTreesClassifier(30, random_state=0), IRIS, BOTH),
    (GradientBoostingClassifier(n_estimators=20, random_state=0), CANCER, BOTH),
    (GradientBoostingClassifier(n_estimators=10, random_state=0), IRIS, BOTH),
    (GradientBoostingRegressor(n_estimators=20, random_state=0), DIABETES, ("predict",)),
    (HistGradientBoostingClassifier(max_iter=20, random_state=0), CANCER, BOTH),
    (HistGradientBoostingClassifier(max_iter=10, random_state=0), IRIS, BOTH),
    (HistGradientBoostingRegressor(max_iter=20, random_state=0), DIABETES, ("predict",)),
    (HistGradientBoostingRegressor(max_iter=10, loss="poisson", random_state=0), DIABETES, ("predict",)),
]


@pytest.mark.parametrize(("model", "data", "methods"), CASES, ids=lambda value: type(value).__name__)
def test_a_compiled_model_answers_as_the_model_does(
    model: Any, data: Any, methods: tuple[str, ...], tmp_path: Path
) -> None:
    rows, answers = data
    model.fit(rows, answers)
    chance = np.random.default_rng(1)
    probes = np.concatenate([rows, chance.uniform(rows.min(0), rows.max(0), size=(500, rows.shape[1]))])
    for method in methods:
        compiled = compile_estimator(model, method)
        assert compiled is not None, method
        folder = tmp_path / method
        folder.mkdir()
        write_predictor(compiled, folder)
        kept = read_predictor(folder)
        assert compare(getattr(model, method)(probes), kept.predict(probes), single=False) == ""
        # Of many rows as of one.
        assert compare(kept.predict(probes)[:1], kept.predict(probes[:1]), single=False) == ""


def test_texts_as_classes_stay_texts(tmp_path: Path) -> None:
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[IRIS[1]]
    model = RandomForestClassifier(10, random_state=0).fit(IRIS[0], names)
    compiled = compile_estimator(model, "predict")
    assert compiled is not None
    write_predictor(compiled, tmp_path)
    assert read_predictor(tmp_path).predict(IRIS[0][:1]).tolist() == ["setosa"]


def with_holes() -> tuple[Any, Any]:
    chance = np.random.default_rng(0)
    rows = CANCER[0].copy()
    rows[chance.random(rows.shape) < 0.2] = np.nan
    codes = chance.integers(0, 20, size=(len(rows), 3)).astype(float)
    return np.concatenate([codes, rows], axis=1), (CANCER[1] + codes[:, 0].astype(int)) % 2


@pytest.mark.parametrize("method", BOTH)
def test_missing_values_and_categories_go_where_the_trees_send_them(method: str) -> None:
    rows, answers = with_holes()
    model = HistGradientBoostingClassifier(max_iter=30, categorical_features=[0, 2], random_state=0)
    model.fit(rows, answers)
    compiled = compile_estimator(model, method)
    assert compiled is not None
    unknown = rows[:50].copy()
    unknown[:, 0] = 77.0
    unknown[10:20, 2] = np.nan
    unknown[20:30, 2] = -3.0
    probes = np.concatenate([rows, unknown])
    assert compare(getattr(model, method)(probes), compiled.predict(probes), single=False) == ""


def test_missing_values_in_a_forest_go_where_its_trees_send_them() -> None:
    rows, answers = with_holes()
    model = RandomForestClassifier(20, random_state=0).fit(rows, answers)
    compiled = compile_estimator(model, "predict_proba")
    assert compiled is not None
    assert compare(model.predict_proba(rows), compiled.predict(rows), single=False) == ""


def test_categories_that_are_texts_are_encoded_as_the_model_does(tmp_path: Path) -> None:
    rows, answers = with_holes()
    frame = pd.DataFrame(rows[:, :6], columns=list("abcdef"))
    frame["a"] = np.array(list("abcdefghijklmnopqrst"), dtype=object)[rows[:, 0].astype(int)]
    frame["a"] = frame["a"].astype(object)
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=["a"], random_state=0)
    model.fit(frame, answers)
    signature = column_signature(a="string", b="double", c="double", d="double", e="double", f="double")
    example = [["a", 1.0, 2.0, None, 0.5, 1.5], ["t", 3.0, 1.0, 2.0, None, 0.1]]
    prepared = prepare_folder(write_model(tmp_path / "model", model, signature, example))
    assert prepared.compiled, prepared.note
    assert prepared.missing
    snapshot = snapshot_of(prepared)
    asked = [
        ["b", 1.0, 2.0, 3.0, 4.0, 5.0],
        ["nobody knows", 1.0, 2.0, None, 4.0, 5.0],
        [None, 1.0, 2.0, 3.0, 4.0, 5.0],
    ]
    own = model.predict(pd.DataFrame(asked, columns=list("abcdef")))
    assert snapshot.predictor.predict(snapshot.inputs.matrix(asked)).tolist() == own.tolist()


class Wayward(LogisticRegression):
    """A model with a predict of its own."""

    def predict(self, X: Any) -> Any:
        return 1 - super().predict(X)


class Shifted(LogisticRegression):
    """A model whose scores are not what its coefficients say."""

    def decision_function(self, X: Any) -> Any:
        return super().decision_function(X) + 5


@pytest.mark.parametrize("model", [Wayward(max_iter=500), Shifted(max_iter=500)])
def test_a_subclass_with_a_method_of_its_own_is_not_compiled(model: Any) -> None:
    assert compile_estimator(make_pipeline(StandardScaler(), model).fit(*CANCER), "predict") is None


def test_what_does_not_answer_alike_falls_back_to_the_models_own_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LogisticRegression(max_iter=300).fit(*IRIS)

    def wrong(_: Any, __: str) -> Any:
        other = LogisticRegression(max_iter=300).fit(IRIS[0], IRIS[1][::-1])
        return compile_estimator(other, "predict")

    monkeypatch.setattr("mlops_sdk.serving.loading.preparing.compile_estimator", wrong)
    folder = write_model(tmp_path / "model", model, tensor_signature(4), IRIS[0][:2].tolist())
    prepared = prepare_folder(folder)
    assert not prepared.compiled
    assert "did not answer alike" in prepared.note
    assert snapshot_of(prepared).predictor.predict(IRIS[0]).tolist() == model.predict(IRIS[0]).tolist()


class Rule(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Somebody's own estimator."""

    def fit(self, X: Any, y: Any) -> "Rule":
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return (np.asarray(X)[:, 0] > 5.5).astype(int)


@pytest.mark.parametrize("model", [KNeighborsClassifier(), Rule()])
def test_a_model_that_no_compiled_form_is_known_of_is_served_by_its_own_predict(
    model: Any, tmp_path: Path
) -> None:
    model.fit(*IRIS)
    prepared = prepare_folder(
        write_model(tmp_path / "model", model, tensor_signature(4), IRIS[0][:2].tolist())
    )
    assert not prepared.compiled
    assert "no compiled form" in prepared.note
    assert snapshot_of(prepared).predictor.predict(IRIS[0]).tolist() == model.predict(IRIS[0]).tolist()


def test_a_model_of_named_columns_is_asked_with_arrays_where_that_is_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(IRIS[0], columns=["a", "b", "c", "d"])
    model = KNeighborsClassifier().fit(frame, IRIS[1])
    signature = column_signature(a="double", b="double", c="double", d="double")
    prepared = prepare_folder(write_model(tmp_path / "model", model, signature, IRIS[0][:2].tolist()))
    assert prepared.form == "array"
