"""What the template API does with a request, apart from HTTP: predicts, evaluates, compares, records.

Runs are recorded in MLflow if it answers. Predictions do not depend on it: without it they are given all the same.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_sdk.errors import InputError, MlopsError, NotFoundError, UnreachableError
from mlops_sdk.registry.runs import Run, Runs
from mlops_sdk.serving.drift.decision import Report, judge
from mlops_sdk.serving.drift.monitor import drift_run
from mlops_sdk.serving.drift.naming import drift_run_name, run_name
from mlops_sdk.serving.drift.sample import Samples, columns_of_frame, to_bytes
from mlops_sdk.serving.drift.statistics import kind_of
from mlops_sdk.serving.drift.window import Window
from mlops_sdk.serving.prediction_log import Prediction, PredictionLog
from mlops_sdk.serving.template.bodies import DataDrift, Evaluation, Inference
from mlops_sdk.serving.template.data import Data, read_data
from mlops_sdk.serving.template.evaluation import evaluate
from mlops_sdk.serving.template.settings import TemplateSettings
from mlops_sdk.serving.template.table import named
from mlops_sdk.serving.template.trainers import task_of

if TYPE_CHECKING:
    import pandas as pd

    from mlops_sdk.serving.server.model_server import ModelServer
    from mlops_sdk.serving.slots.slots import Snapshot

MOST_ANSWERS = 10_000
"""More predictions are a file of the run, and not in the answer."""
_LOGGED_AT_ONCE = 1_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """The parts that requests use. Without a log, input-prediction pairs are kept with the run alone."""

    server: "ModelServer"
    settings: TemplateSettings
    runs: Runs
    samples: Samples
    window: Window
    log: PredictionLog | None

    async def infer(self, body: Inference, request_id: str) -> dict[str, Any]:
        """Predict, keep the pairs, check the inputs for drift. Raises InputError for rows the model does not take."""
        snapshot, frame = self._current(), await self._read(body)
        inputs = _inputs(snapshot, frame)
        answers = np.asarray(await self._predict(snapshot, inputs))
        matrix = inputs.to_numpy()
        self.window.add((snapshot.name, snapshot.version), matrix, time.time())
        self._log_pairs(snapshot, matrix, answers, request_id, body.entity)
        report = await self._drift(snapshot, inputs)
        name, drift = run_name("infer"), report.document() if report else None
        run = await asyncio.to_thread(_inference_run, snapshot, name, inputs, answers, report)
        answer = {**_of(snapshot), "run_name": name, "run_id": await self._record(run), "drift": drift}
        if len(answers) <= MOST_ANSWERS:
            return {**answer, "predictions": answers.tolist()}
        if answer["run_id"] is None:
            raise UnreachableError(
                f"{len(answers):,} predictions are kept with a run, and MLflow does not answer"
            )
        return {**answer, "predictions": None, "predictions_file": "predictions.parquet"}

    async def evaluate(self, body: Evaluation) -> dict[str, Any]:
        """Metrics of the current model on rows whose answers are known. Raises UnreachableError without MLflow."""
        snapshot, frame = self._current(), await self._read(body)
        if body.target not in frame.columns:
            raise InputError(f"the data have no column {body.target!r}", where="target")
        known = frame.pop(body.target)
        answers = await self._predict(snapshot, _inputs(snapshot, frame))
        task = body.task or task_of(known)
        try:
            metrics = await asyncio.to_thread(evaluate, known, answers, task)
        except ValueError as error:
            raise InputError(
                f"the target cannot be compared with the answers: {error}", where="target"
            ) from error
        name = run_name("eval")
        run = Run(snapshot.name, name, {**metrics, "rows": len(frame)}, _tags(snapshot, "eval"))
        run_id = await asyncio.to_thread(self.runs.record, run)
        return {**_of(snapshot), "run_name": name, "run_id": run_id, "task": task, "metrics": metrics}

    async def data_drift(self, body: DataDrift) -> dict[str, Any]:
        """Compare data with the baseline, and record both the result and the data. Raises as `evaluate`."""
        snapshot, frame = self._current(), await self._read(body)
        sample = columns_of_frame(frame)
        if body.baseline is not None:
            reference = columns_of_frame(await self._read(body.baseline))
        else:
            reference = dict(await asyncio.to_thread(self.samples.of, snapshot.name, snapshot.version))
        if not set(reference) & set(sample):
            raise InputError(f"the data have none of the baseline's columns {named(reference)}")
        _check_kinds(reference, sample)
        report = await asyncio.to_thread(judge, reference, sample, self.settings.drift_rules)
        key = (snapshot.name, snapshot.version)
        name = drift_run_name(*key)
        run_id = await asyncio.to_thread(self.runs.record, drift_run(key, report, sample, name=name))
        return {**_of(snapshot), "run_name": name, "run_id": run_id, **report.document()}

    def _current(self) -> "Snapshot":
        snapshot = self.server.slots.current
        if snapshot is None:
            raise UnreachableError("no model is loaded")
        return snapshot

    async def _read(self, data: Data) -> "pd.DataFrame":
        return await asyncio.to_thread(
            read_data, data, roots=self.settings.data_roots, sources=self.settings.sources
        )

    async def _predict(self, snapshot: "Snapshot", inputs: "pd.DataFrame") -> NDArray[Any]:
        try:
            return np.asarray(await self.server.predict(snapshot, inputs))
        except MlopsError:
            raise
        except Exception as error:
            _log.exception("the model %s version %d failed", snapshot.name, snapshot.version)
            raise InputError(f"the model does not take these rows ({type(error).__name__})") from error

    def _log_pairs(
        self,
        snapshot: "Snapshot",
        matrix: NDArray[Any],
        answers: NDArray[Any],
        request_id: str,
        entity: str | None,
    ) -> None:
        if self.log is None:
            return
        for begin in range(0, len(matrix), _LOGGED_AT_ONCE):
            rows = slice(begin, begin + _LOGGED_AT_ONCE)
            self.log.add(
                Prediction(
                    at=datetime.now(UTC),
                    request_id=request_id,
                    entity=entity,
                    slot="current",
                    model=snapshot.name,
                    model_version=snapshot.version,
                    input=matrix[rows].tolist(),
                    output=answers[rows].tolist(),
                )
            )

    async def _drift(self, snapshot: "Snapshot", inputs: "pd.DataFrame") -> Report | None:
        """What the inputs of one call say; None without a reference, or where MLflow cannot be asked for it."""
        try:
            reference = await asyncio.to_thread(self.samples.of, snapshot.name, snapshot.version)
        except MlopsError as error:
            if not isinstance(error, NotFoundError):
                _log.warning("no drift check: %s", error)
            return None
        sample = columns_of_frame(inputs)
        if not snapshot.inputs.names:
            sample = dict(zip(reference, sample.values(), strict=False))
        return await asyncio.to_thread(judge, reference, sample, self.settings.drift_rules)

    async def _record(self, run: Run) -> str | None:
        try:
            return await asyncio.to_thread(self.runs.record, run)
        except MlopsError as error:
            _log.warning("the run %s is not recorded: %s", run.name, error)
            return None


def _inference_run(
    snapshot: "Snapshot", name: str, inputs: "pd.DataFrame", answers: NDArray[Any], report: Report | None
) -> Run:
    """The run of a call: its input-prediction pairs, and what the check for drift said."""
    metrics = {"rows": float(len(inputs))}
    files = {"predictions.parquet": to_bytes(inputs.assign(prediction=answers.tolist()))}
    if report is not None:
        files["drift.json"] = orjson.dumps(report.document())
        if report.decided:
            metrics["drift"] = float(bool(report.drifted))
    return Run(snapshot.name, name, metrics, _tags(snapshot, "infer"), files)


def _inputs(snapshot: "Snapshot", frame: "pd.DataFrame") -> "pd.DataFrame":
    """The model's columns of the data, in its order. Raises InputError that names what is missing."""
    names = list(snapshot.inputs.names)
    if not names:
        if frame.shape[1] != snapshot.inputs.width:
            raise InputError(
                f"the model takes {snapshot.inputs.width} columns, the data have {frame.shape[1]}"
            )
        return frame
    unnamed = list(frame.columns) == [str(place) for place in range(frame.shape[1])]
    if unnamed and frame.shape[1] == len(names):
        return frame.set_axis(names, axis=1)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InputError(f"the data lack the columns {named(missing)}")
    return frame[names]


def _check_kinds(reference: Mapping[str, NDArray[Any]], sample: Mapping[str, NDArray[Any]]) -> None:
    """Raises InputError for a column that has numbers in the baseline and something else in the data."""
    for name in sorted(set(reference) & set(sample)):
        is_other = sample[name].dtype.kind not in "fiub" and any(value is not None for value in sample[name])
        if is_other and kind_of(reference[name]) == "numeric":
            raise InputError(
                f"the column {name[:100]} has numbers in the baseline, and other values in the data"
            )


def _of(snapshot: "Snapshot") -> dict[str, Any]:
    return {"status": "success", "model": snapshot.name, "model_version": snapshot.version}


def _tags(snapshot: "Snapshot", kind: str) -> dict[str, str]:
    return {
        "mlops.kind": kind,
        "mlops.model": snapshot.name,
        "mlops.model_version": str(snapshot.version),
        "mlops.model_digest": snapshot.digest,
    }


__all__ = ["Work"]
