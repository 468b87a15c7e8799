"""One training: a run with autologging, a sample held out and stored, a new version with tags that lead to it.

It runs in a process of its own, because MLflow's autologging patches whole libraries. What two trainings at once write
is apart: the sample's place holds the run's id.
"""

import importlib
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from mlops_sdk.errors import InputError, MlopsError, UnreachableError
from mlops_sdk.registry.files import write_uri
from mlops_sdk.serving.drift import sample as samples
from mlops_sdk.serving.template.evaluation import evaluate
from mlops_sdk.serving.template.table import named
from mlops_sdk.serving.template.trainers import Task, task_of

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("scikit-learn", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class Order:
    """What to train: a model of that name from the column `target` of the data, all others being inputs.

    `training` names the training among those of the model, see `registry.trained`: it becomes a tag of the version.
    """

    model: str
    target: str
    run_name: str
    mlflow_uri: str
    trainer: str
    estimator: str = "random_forest"
    task: Literal["classification", "regression"] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    sample_store: str | None = None
    alias: str | None = None
    training: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """The version that came of it."""

    run_name: str
    run_id: str
    registered_model_name: str
    model_version: int
    metrics: dict[str, float]
    drift_sample: dict[str, Any]


def train(order: Order, frame: "pd.DataFrame") -> Trained:
    """Train and register. Raises InputError for data that do not fit the order, UnreachableError without MLflow."""
    if order.target not in frame.columns:
        raise InputError(
            f"the data have no column {order.target!r}; they have {named(frame.columns)}", where="target"
        )
    if len(frame.columns) < 2:
        raise InputError("the data have no other column than the target", where="target")
    frame = frame.dropna(subset=[order.target])
    training, held_out = samples.hold_out(frame, seed=order.seed)
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(order.mlflow_uri)
    try:
        return _run(order, training, held_out)
    except MlflowException as error:
        if any(text in str(error) for text in ("Max retries exceeded", "Connection refused", "timed out")):
            raise UnreachableError("MLflow did not answer", where=order.mlflow_uri) from error
        raise MlopsError(f"MLflow: {error.message}", where=order.mlflow_uri) from error


def _run(order: Order, training: "pd.DataFrame", held_out: "pd.DataFrame") -> Trained:
    import mlflow
    from mlflow.models import infer_signature

    from mlops_sdk.registry.trained import TRAINING_TAG

    target = training.pop(order.target)
    known = held_out.pop(order.target)
    task = order.task or task_of(target)
    mlflow.set_experiment(order.model)
    # The model is logged below, with its signature and without a search for requirements that takes ten seconds.
    mlflow.autolog(log_models=False, log_datasets=False, silent=True)
    with mlflow.start_run(run_name=order.run_name) as run:
        mlflow.set_tags({"mlops.kind": "train", "mlops.model": order.model})
        mlflow.log_params({"trainer": order.trainer, "target": order.target, "held_out_rows": len(held_out)})
        model = _fitted(order, training, target, task)
        answers = model.predict(held_out)
        metrics = {f"held_out_{name}": value for name, value in evaluate(known, answers, task).items()}
        mlflow.log_metrics(metrics)
        stored = _store(order, run.info, samples.to_bytes(held_out))
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
            signature=infer_signature(held_out, answers),
            input_example=held_out.head(5),
            pip_requirements=[f"{name}=={version(name)}" for name in _PACKAGES],
        )
        tags = {**stored.tags(), "mlops.run_name": order.run_name, "mlops.python": platform.python_version()}
        if order.training is not None:
            tags[TRAINING_TAG] = order.training
        created = mlflow.register_model(logged.model_uri, order.model, await_registration_for=0, tags=tags)
        mlflow.set_tag("mlops.model_version", str(created.version))
    if order.alias:
        mlflow.MlflowClient().set_registered_model_alias(order.model, order.alias, str(created.version))
    return Trained(
        run_name=order.run_name,
        run_id=run.info.run_id,
        registered_model_name=order.model,
        model_version=int(created.version),
        metrics=metrics,
        drift_sample={"uri": stored.uri, "sha256": stored.sha256, "rows": len(held_out)},
    )


def _store(order: Order, run: Any, data: bytes) -> samples.StoredSample:
    """Keep the sample in the store, else with the run."""
    import mlflow

    digest = samples.sha256(data)
    if order.sample_store is None:
        with _folder() as folder:
            path = folder / samples.FILE
            path.write_bytes(data)
            mlflow.log_artifact(str(path))
        return samples.StoredSample(f"{run.artifact_uri.rstrip('/')}/{samples.FILE}", digest)
    uri = f"{order.sample_store.rstrip('/')}/{order.model}/{run.run_id}/{samples.FILE}"
    write_uri(uri, data)
    return samples.StoredSample(uri, digest)


def _folder() -> Any:
    import contextlib
    import tempfile
    from pathlib import Path

    @contextlib.contextmanager
    def opened() -> Any:
        with tempfile.TemporaryDirectory(prefix="mlops-sample-") as name:
            yield Path(name)

    return opened()


def _fitted(order: Order, training: "pd.DataFrame", target: "pd.Series[Any]", task: Task) -> Any:
    """What the trainer makes. A ValueError of it is how libraries say that data or parameters are wrong."""
    trainer = _trainer(order.trainer)
    try:
        return trainer(training, target, estimator=order.estimator, task=task, parameters=order.parameters)
    except ValueError as error:
        raise InputError(f"the trainer does not take these data or parameters: {error}") from error


def _trainer(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"the trainer {name!r} cannot be imported: {error}", where="--trainer") from error
    return found


__all__ = ["Order", "Task", "Trained", "train"]
