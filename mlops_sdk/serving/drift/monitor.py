"""Looks at the window regularly, and tells of drift: metrics each time; a run, an alert and a request when it begins.

What it tells of and cannot reach is logged and counted, and tried again at the next look. Nothing here is on the reply
path. Of several workers of a server one looks: chance gives each the same traffic.
"""

import asyncio
import fcntl
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
from numpy.typing import NDArray

from mlops_sdk.errors import MlopsError
from mlops_sdk.registry.runs import Run, Runs
from mlops_sdk.serving.drift.alert import Webhook
from mlops_sdk.serving.drift.decision import Report, Rules, columns_of, judge
from mlops_sdk.serving.drift.metrics import DriftMetrics
from mlops_sdk.serving.drift.naming import drift_run_name
from mlops_sdk.serving.drift.sample import Samples
from mlops_sdk.serving.drift.training_request import TrainingQueue
from mlops_sdk.serving.drift.window import Key, Window

AGAIN_AFTER_S = 24 * 3600.0
"""Drift that stays is told of once a day."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """Who is told of drift beside the metrics; None: nobody."""

    webhook: Webhook | None = None
    queue: TrainingQueue | None = None


@dataclass
class _State:
    """What is known of one served version. `pending` are the tellings of a finding that have not been taken yet."""

    complained: str = ""
    drifted: bool = False
    told_at: float = 0.0
    pending: tuple[str, ...] = ()
    run_id: str | None = None


class Monitor:
    """Checks the versions that `served` names (with their column names), every `every_s` seconds."""

    def __init__(
        self,
        window: Window,
        served: Callable[[], Mapping[Key, list[str]]],
        *,
        runs: Runs,
        samples: Samples,
        metrics: DriftMetrics,
        told: Told,
        lock: Path,
        rules: Rules,
        every_s: float,
    ) -> None:
        self._window = window
        self._served = served
        self._runs = runs
        self._samples = samples
        self._metrics = metrics
        self._told = told
        self._lock_path = lock
        self._rules = rules
        self._every_s = every_s
        self._states: dict[Key, _State] = {}
        self._lock: IO[bytes] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                if self._is_the_one():
                    try:
                        await self.look()
                    except Exception:  # noqa: BLE001 - a fault of one look must not end all that come
                        _log.exception("drift was not looked for")
        finally:
            if self._lock:
                self._lock.close()

    async def look(self) -> dict[Key, Report]:
        """One look at every served version that has a reference; what was found."""
        served = self._served()
        for gone in set(self._states) - set(served):
            del self._states[gone]
            with suppress(KeyError):
                self._metrics.forget(gone)
        found = {}
        for key, names in served.items():
            report = await self._check(key, names)
            if report is not None:
                found[key] = report
        return found

    async def _check(self, key: Key, names: list[str]) -> Report | None:
        state = self._states.setdefault(key, _State())
        reference = await self._reference(key, state)
        matrix = self._window.rows(key, time.time())
        if reference is None or matrix is None:
            return None
        sample = columns_of(matrix, names)
        if not names:  # a model whose inputs have no names takes them in the sample's order
            sample = dict(zip(reference, sample.values(), strict=False))
        report = await asyncio.to_thread(judge, reference, sample, self._rules)
        self._metrics.show(key, report)
        if report.decided:
            self._note(state, report)
            await self._tell(key, state, report, sample)
        return report

    def _note(self, state: _State, report: Report) -> None:
        """What is to be told: everything when drift begins and each day that it stays, a run when it ends."""
        drifted = bool(report.drifted)
        if drifted and (not state.drifted or time.time() > state.told_at + AGAIN_AFTER_S):
            state.pending = ("run", "alert", "training request")
            state.run_id = None  # that of the drift before is not this one's
            state.told_at = time.time()
        elif state.drifted and not drifted:
            state.pending = ("run",)
        state.drifted = drifted

    async def _tell(
        self, key: Key, state: _State, report: Report, sample: Mapping[str, NDArray[Any]]
    ) -> None:
        left = []
        for what in state.pending:
            try:
                if what == "run":
                    state.run_id = await asyncio.to_thread(self._runs.record, drift_run(key, report, sample))
                elif what == "alert" and self._told.webhook:
                    await self._told.webhook.send(_alert(key, report, state.run_id))
                elif what == "training request" and self._told.queue:
                    await asyncio.to_thread(self._told.queue.send, _request(key, report, state.run_id))
                else:
                    continue
            except MlopsError as error:
                _log.warning("drift of %s version %d, %s: %s", *key, what, error)
                self._metrics.told.labels(what, "failed").inc()
                left.append(what)
            else:
                self._metrics.told.labels(what, "taken").inc()
        state.pending = tuple(left)

    async def _reference(self, key: Key, state: _State) -> Mapping[str, NDArray[Any]] | None:
        try:
            return await asyncio.to_thread(self._samples.of, *key)
        except MlopsError as error:
            if error.what != state.complained:
                _log.warning("no drift checks: %s", error)
            state.complained = error.what
            return None

    def _is_the_one(self) -> bool:
        """Whether this worker looks: the one that holds the lock, until it ends."""
        if self._lock is None:
            stream = self._lock_path.open("ab")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                return False
            self._lock = stream
        return True


def drift_run(key: Key, report: Report, sample: Mapping[str, NDArray[Any]], *, name: str = "") -> Run:
    """The run that records a check: its figures, the report, and the data that were checked."""
    import pandas as pd

    from mlops_sdk.serving.drift.sample import to_bytes

    metrics: dict[str, float] = {"drift": float(bool(report.drifted))}
    for column in report.columns:
        metrics[f"{column.name}.psi"] = column.found.psi
        metrics[f"{column.name}.p_value"] = column.p_value
        if column.found.distance is not None:
            metrics[f"{column.name}.ks"] = column.found.distance
    return Run(
        experiment=key[0],
        name=name or drift_run_name(*key),
        metrics=metrics,
        tags={"mlops.model": key[0], "mlops.model_version": str(key[1]), "mlops.kind": "drift"},
        files={
            "drift.json": orjson.dumps(report.document(), option=orjson.OPT_INDENT_2),
            "subject.parquet": to_bytes(pd.DataFrame(dict(sample))),
        },
    )


def _alert(key: Key, report: Report, run_id: str | None) -> dict[str, Any]:
    name, version = key
    worst = sorted((c for c in report.columns if c.drifted), key=lambda c: -c.found.psi)
    said = ", ".join(f"{c.name} (PSI {c.found.psi:.2f})" for c in worst[:5])
    more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
    return {
        "type": "mlops.drift",
        "text": f"Inputs of {name} version {version} have drifted: {said}{more}.",
        "model": name,
        "version": version,
        "run_id": run_id,
        "columns": {c.name: c.document() for c in worst},
    }


def _request(key: Key, report: Report, run_id: str | None) -> dict[str, Any]:
    name, version = key
    return {
        "model": name,
        "version": version,
        "reason": "drift",
        "columns": list(report.drifted),
        "run_id": run_id,
    }
