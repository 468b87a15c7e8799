"""From a fitted scikit-learn estimator to a compiled predictor. Reads attributes of the estimator and predicts nothing.

What it does not know for certain it does not compile: a subclass with a `predict` of its own, several outputs, a
warm start. The parity check is the judge of what it does. It imports scikit-learn, so it runs where a model is loaded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.serving.loading.compiled.linear import LinearPredictor
from mlops_sdk.serving.loading.compiled.pipeline import PipelinePredictor, Step
from mlops_sdk.serving.loading.compiled.trees import Forest, TreePredictor

Predictor = LinearPredictor | TreePredictor | PipelinePredictor

_NO_CLASSES = np.empty(0)


def compile_estimator(estimator: Any, method: str) -> Predictor | None:
    """The predictor that answers as `estimator.METHOD` does; None for a model that is not known."""
    from sklearn.pipeline import Pipeline

    if type(estimator) is Pipeline:
        return _pipeline(estimator, method)
    for build in (_linear, _forest, _boosted, _histogram):
        if found := build(estimator, method):
            return found
    return None


def _is(estimator: Any, base: type, *methods: str) -> bool:
    """Whether these methods of the estimator are those of `base` itself."""
    return isinstance(estimator, base) and all(
        getattr(type(estimator), name) is getattr(base, name) for name in methods
    )


def _pipeline(pipeline: Any, method: str) -> PipelinePredictor | None:
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    *before, (_, last) = pipeline.steps
    steps: list[Step] = []
    for _, scaler in before:
        if scaler == "passthrough":
            continue
        match scaler:
            case StandardScaler() if type(scaler) is StandardScaler:
                steps.append(Step(_or_none(scaler.mean_), _or_none(scaler.scale_), None, None))
            case RobustScaler() if type(scaler) is RobustScaler:
                steps.append(Step(_or_none(scaler.center_), _or_none(scaler.scale_), None, None))
            case MaxAbsScaler() if type(scaler) is MaxAbsScaler and not getattr(scaler, "clip", False):
                steps.append(Step(None, scaler.scale_, None, None))
            case MinMaxScaler() if type(scaler) is MinMaxScaler and not scaler.clip:
                steps.append(Step(None, None, scaler.scale_, scaler.min_))
            case _:
                return None
    inner = compile_estimator(last, method)
    if inner is None or isinstance(inner, PipelinePredictor):
        return None
    return PipelinePredictor(tuple(steps), inner)


def _or_none(values: Any) -> NDArray[Any] | None:
    return None if values is None else np.asarray(values)


def _linear(estimator: Any, method: str) -> LinearPredictor | None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
    from sklearn.linear_model._stochastic_gradient import BaseSGDRegressor

    classifies = isinstance(estimator, LinearClassifierMixin)
    if method == "predict" and isinstance(estimator, LinearModel | BaseSGDRegressor) and not classifies:
        # Each regressor has a `predict` of its own; what scikit-learn's own say is the linear score.
        ours = type(estimator).predict.__module__.startswith("sklearn.linear_model.")
        return _linear_of(estimator, "value", _NO_CLASSES) if ours else None
    if not classifies or not _is(estimator, LinearClassifierMixin, "decision_function"):
        return None
    binary = len(estimator.classes_) == 2
    if method == "decision_function":
        return _linear_of(estimator, "value", _NO_CLASSES)
    if method == "predict" and type(estimator).predict.__module__.startswith("sklearn.linear_model."):
        return _linear_of(estimator, "sign" if binary else "largest", estimator.classes_)
    if method == "predict_proba" and _is(estimator, LogisticRegression, "predict_proba"):
        return _linear_of(estimator, "sigmoid" if binary else "softmax", _NO_CLASSES)
    return None


def _linear_of(estimator: Any, answer: Any, classes: NDArray[Any]) -> LinearPredictor | None:
    coefficients, intercept = np.asarray(estimator.coef_), np.asarray(estimator.intercept_)
    if coefficients.ndim == 1 and intercept.size == 1:
        intercept = intercept.reshape(())  # SGDRegressor has a list of one
    if coefficients.ndim == 2:
        # One score a row, where the model gives a flat list of them.
        flat = coefficients.shape[0] == 1 and (answer != "value" or hasattr(estimator, "classes_"))
        coefficients = coefficients[0] if flat else coefficients.T
        intercept = intercept.reshape(()) if flat and intercept.size == 1 else intercept
    return LinearPredictor(np.ascontiguousarray(coefficients), intercept, answer, np.asarray(classes))


def _forest(estimator: Any, method: str) -> TreePredictor | None:
    from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if getattr(estimator, "n_outputs_", 1) != 1:
        return None
    if _is(estimator, ForestClassifier, "predict", "predict_proba") or _is(
        estimator, DecisionTreeClassifier, "predict", "predict_proba"
    ):
        answer = {"predict": "largest", "predict_proba": "value"}.get(method)
        outputs, classes = len(estimator.classes_), np.asarray(estimator.classes_)
    elif _is(estimator, ForestRegressor, "predict") or _is(estimator, DecisionTreeRegressor, "predict"):
        answer, outputs, classes = {"predict": "value"}.get(method), 1, _NO_CLASSES
    else:
        return None
    if answer is None:
        return None
    trees = [each.tree_ for each in getattr(estimator, "estimators_", [estimator])]
    return TreePredictor(
        forest=_table(trees, np.concatenate([tree.value[:, 0, :outputs] for tree in trees])),
        shared=True,
        baseline=np.zeros(outputs),
        scale=1 / len(trees),
        answer=answer,  # type: ignore[arg-type]
        classes=classes if answer == "largest" else _NO_CLASSES,
        flat=outputs == 1,
        dtype="float32",
        order=np.empty(0, dtype=np.intp),
        encoder={},
    )


def _boosted(estimator: Any, method: str) -> TreePredictor | None:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.ensemble._gb import _init_raw_predictions

    classifies = _is(estimator, GradientBoostingClassifier, "predict", "predict_proba")
    if not classifies and not _is(estimator, GradientBoostingRegressor, "predict"):
        return None
    outputs = estimator.n_trees_per_iteration_
    baseline = np.zeros(outputs)
    if estimator.init_ != "zero":
        # Compiled only if the first guess is the same whatever the row; any other rows would show that it is not.
        rows = np.random.default_rng(0).normal(size=(8, estimator.n_features_in_)).astype(np.float32)
        first = _init_raw_predictions(rows, estimator.init_, estimator._loss, classifies)
        if not (first == first[0]).all():
            return None
        baseline = first[0]
    trees = [tree.tree_ for stage in estimator.estimators_ for tree in stage]
    answer: str | None = {"predict": "value"}.get(method)
    if classifies:
        rules = {
            "predict": "sign_or_zero" if outputs == 1 else "largest",
            "predict_proba": "sigmoid" if outputs == 1 else "softmax",
        }
        # The exponential loss has probabilities of its own.
        answer = rules.get(method) if estimator.loss == "log_loss" or method == "predict" else None
    if answer is None:
        return None
    return TreePredictor(
        forest=_table(trees, np.concatenate([tree.value[:, 0, :1] for tree in trees])),
        shared=False,
        baseline=np.asarray(baseline, dtype=np.float64),
        scale=float(estimator.learning_rate),
        answer=answer,  # type: ignore[arg-type]
        classes=np.asarray(estimator.classes_) if classifies and method == "predict" else _NO_CLASSES,
        flat=True,
        dtype="float32",
        order=np.empty(0, dtype=np.intp),
        encoder={},
    )


def _table(trees: Sequence[Any], value: NDArray[Any]) -> Forest:
    """The nodes of scikit-learn's trees in one table."""
    starts = np.cumsum([0, *(tree.node_count for tree in trees)]).astype(np.intp)
    children, features, thresholds, right = [], [], [], []
    for tree, start in zip(trees, starts, strict=False):
        own = np.arange(tree.node_count)
        leaf = tree.children_left == -1
        pair = np.stack(
            [np.where(leaf, own, tree.children_left), np.where(leaf, own, tree.children_right)], 1
        )
        children.append(pair + start)
        features.append(np.where(leaf, 0, tree.feature))
        # float32 is compared with a float64 threshold: the largest float32 that is not above it splits alike.
        thresholds.append(np.where(leaf, np.float32(np.inf), _float32_below(tree.threshold)))
        right.append(~tree.missing_go_to_left.astype(bool) & ~leaf)
    return Forest(
        feature=np.concatenate(features).astype(np.intp),
        threshold=np.concatenate(thresholds).astype(np.float32),
        children=np.concatenate(children).astype(np.intp).ravel(),
        roots=starts[:-1],
        depth=max(int(tree.max_depth) for tree in trees),
        value=np.ascontiguousarray(value, dtype=np.float64),
        missing_right=np.concatenate(right),
        category=np.empty(0, dtype=np.intp),
        left=np.empty((0, 256), dtype=bool),
    )


def _float32_below(values: NDArray[Any]) -> NDArray[np.float32]:
    near = values.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    result: NDArray[np.float32] = np.where(near.astype(np.float64) > values, below, near).astype(np.float32)
    return result


def _histogram(estimator: Any, method: str) -> TreePredictor | None:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    classifies = _is(estimator, HistGradientBoostingClassifier, "predict", "predict_proba")
    if not classifies and not _is(estimator, HistGradientBoostingRegressor, "predict"):
        return None
    outputs = estimator.n_trees_per_iteration_
    if classifies:
        rules = {
            "predict": "sign" if outputs == 1 else "largest",
            "predict_proba": "sigmoid" if outputs == 1 else "softmax",
        }
    else:
        links = {"IdentityLink": "value", "LogLink": "exp"}
        rules = {"predict": links.get(type(estimator._loss.link).__name__, "")}
    if not rules.get(method):
        return None
    coded = _encoding(estimator)
    if coded is None:
        return None
    encoder, order = coded
    trees = [tree for stage in estimator._predictors for tree in stage]
    return TreePredictor(
        forest=_histogram_table(trees),
        shared=False,
        baseline=np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel(),
        scale=1.0,
        answer=rules[method],  # type: ignore[arg-type]
        classes=np.asarray(estimator.classes_) if classifies and method == "predict" else _NO_CLASSES,
        flat=True,
        dtype="float64",
        order=order,
        encoder=encoder,
    )


def _encoding(estimator: Any) -> tuple[dict[int, NDArray[Any]], NDArray[np.intp]] | None:
    """The values that each column's codes stand for, and the trees' order of columns."""
    if estimator._preprocessor is None:
        return {}, np.empty(0, dtype=np.intp)
    categorical = np.flatnonzero(estimator.is_categorical_)
    found = {}
    for column, values in zip(
        categorical.tolist(), estimator._preprocessor.named_transformers_["encoder"].categories_, strict=True
    ):
        listed = [value for value in values.tolist() if value is not None and value == value]
        text = all(isinstance(value, str) for value in listed)
        if not text and not all(isinstance(value, int | float) for value in listed):
            return None
        found[column] = np.array(listed, dtype=object if text else np.float64)
    order = np.concatenate([categorical, np.flatnonzero(~estimator.is_categorical_)])
    return found, order.astype(np.intp)


def _histogram_table(trees: Sequence[Any]) -> Forest:
    starts = np.cumsum([0, *(len(tree.nodes) for tree in trees)]).astype(np.intp)
    children, right, category, left, splits = [], [], [], [], 0
    for tree, start in zip(trees, starts, strict=False):
        nodes, own = tree.nodes, np.arange(len(tree.nodes))
        leaf = nodes["is_leaf"].astype(bool)
        pair = np.stack([np.where(leaf, own, nodes["left"]), np.where(leaf, own, nodes["right"])], 1)
        children.append(pair.astype(np.intp) + start)
        right.append(~nodes["missing_go_to_left"].astype(bool) & ~leaf)
        coded = nodes["is_categorical"].astype(bool) & ~leaf
        category.append(np.where(coded, nodes["bitset_idx"].astype(np.intp) + splits, -1))
        left.append(_bits(np.asarray(tree.raw_left_cat_bitsets)))
        splits += len(tree.raw_left_cat_bitsets)
    nodes = np.concatenate([tree.nodes for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    return Forest(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp),
        threshold=np.where(leaf, np.inf, nodes["num_threshold"]).astype(np.float64),
        children=np.concatenate(children).ravel(),
        roots=starts[:-1],
        depth=max(tree.get_max_depth() for tree in trees),
        value=np.ascontiguousarray(nodes["value"][:, None], dtype=np.float64),
        missing_right=np.concatenate(right),
        category=np.concatenate(category) if splits else np.empty(0, dtype=np.intp),
        left=np.concatenate(left) if splits else np.empty((0, 256), dtype=bool),
    )


def _bits(sets: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Sets of 8 words of 32 bits as [sets, 256]: bit b of word w is code 32 w + b."""
    if not len(sets):
        return np.empty((0, 256), dtype=bool)
    shifted = sets[:, :, None] >> np.arange(32, dtype=np.uint32)
    result: NDArray[np.bool_] = (shifted & 1).astype(bool).reshape(len(sets), 256)
    return result
