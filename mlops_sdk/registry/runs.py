"""MLflow runs that are recorded whole, and the tags of model versions, over REST: mlflow is not imported.

Files of a run go to where the server keeps them: through the server, or by fsspec to a bucket or a shared folder.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlops_sdk.errors import MlopsError
from mlops_sdk.registry.files import read_uri, write_uri
from mlops_sdk.registry.rest import MlflowRest, connect

# What MLflow allows in the name of a metric.
_NOT_A_NAME = re.compile(r"[^\w./ :-]")
_MOST_METRICS = 900  # of one call; MLflow takes 1,000 of all kinds


@dataclass(frozen=True)
class Run:
    """A run that has ended. `files` are by their path in the run."""

    experiment: str
    name: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    began_ms: int | None = None


class Runs:
    """The runs of the MLflow server at `uri`.

    `timeout_s` is how long a connection may take. Every method raises UnreachableError if MLflow does not answer,
    AuthError if it refuses.
    """

    def __init__(self, uri: str, *, timeout_s: float = 3.0) -> None:
        self.uri = uri
        self._timeout_s = timeout_s

    def record(self, run: Run) -> str:
        """Write a run; its id. A run that could not be written whole is there as FAILED."""
        with connect(self.uri, connect_timeout_s=self._timeout_s) as mlflow:
            made = mlflow.send(
                "POST",
                "runs/create",
                {
                    "experiment_id": _experiment(mlflow, run.experiment),
                    "run_name": run.name,
                    "start_time": run.began_ms or _now_ms(),
                    "tags": [{"key": key, "value": value[:5000]} for key, value in run.tags.items()],
                },
            )["run"]["info"]
            status = "FAILED"
            try:
                self._fill(mlflow, run, str(made["run_id"]), str(made["artifact_uri"]))
                status = "FINISHED"
            finally:
                ended = {"run_id": made["run_id"], "status": status, "end_time": _now_ms()}
                mlflow.send("POST", "runs/update", ended)
            return str(made["run_id"])

    def version_tags(self, name: str, version: int) -> dict[str, str]:
        """The tags of a model version. Raises NotFoundError where there is none."""
        with connect(self.uri, connect_timeout_s=self._timeout_s) as mlflow:
            found = mlflow.get("model-versions/get", name=name, version=str(version))["model_version"]
            return {str(tag["key"]): str(tag["value"]) for tag in found.get("tags", [])}

    def read_file(self, uri: str) -> bytes:
        """A file that `files` or a training wrote: `mlflow-artifacts:/...` through the server, else by fsspec."""
        path = _proxied(uri)
        if path is None:
            return read_uri(uri)
        with connect(self.uri, connect_timeout_s=self._timeout_s) as mlflow:
            return mlflow.artifact_bytes(path)

    def _fill(self, mlflow: MlflowRest, run: Run, run_id: str, artifacts: str) -> None:
        metrics = [
            {"key": metric_name(key), "value": value, "timestamp": _now_ms(), "step": 0}
            for key, value in run.metrics.items()
        ]
        for begin in range(0, len(metrics), _MOST_METRICS):
            batch = metrics[begin : begin + _MOST_METRICS]
            mlflow.send("POST", "runs/log-batch", {"run_id": run_id, "metrics": batch})
        for name, data in run.files.items():
            uri = f"{artifacts.rstrip('/')}/{name}"
            path = _proxied(uri)
            if path is None:
                write_uri(uri, data)
            else:
                mlflow.upload(path, data)


def metric_name(text: str) -> str:
    """A name that MLflow takes for a metric."""
    return _NOT_A_NAME.sub("_", text)[:250]


def _experiment(mlflow: MlflowRest, name: str) -> str:
    """The id of the experiment, made if it is not there; of two that make it at once, both get the one."""
    for _ in range(2):
        try:
            return str(
                mlflow.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]
            )
        except MlopsError as missing:
            try:
                return str(mlflow.send("POST", "experiments/create", {"name": name})["experiment_id"])
            except MlopsError as error:
                if "already exists" not in str(error):
                    raise error from missing
    raise MlopsError(f"the experiment {name} is deleted", remedy="restore it in MLflow")


def _proxied(uri: str) -> str | None:
    parts = urlsplit(uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" and not parts.netloc else None


def _now_ms() -> int:
    return int(time.time() * 1000)
