"""What Prometheus sees of drift, by model version and column."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from mlops_sdk.serving.drift.decision import Report
from mlops_sdk.serving.drift.window import Key

_VERSION = ["model", "version"]
_COLUMN = [*_VERSION, "column"]
MOST_COLUMNS = 200
"""Of more columns only those are shown that drifted: each is three time series."""


class DriftMetrics:
    """The gauges of the latest check of each version, and counters of what came of checks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._psi = Gauge("mlops_drift_psi", "Population stability index.", _COLUMN, registry=registry)
        self._ks = Gauge("mlops_drift_ks", "Kolmogorov-Smirnov distance.", _COLUMN, registry=registry)
        self._column = Gauge("mlops_drift_column", "1 if the column has drifted.", _COLUMN, registry=registry)
        self._detected = Gauge(
            "mlops_drift_detected",
            "1 if a column of the model's inputs has drifted.",
            _VERSION,
            registry=registry,
        )
        self._rows = Gauge("mlops_drift_window_rows", "Rows in the window.", _VERSION, registry=registry)
        self.checks = Counter(
            "mlops_drift_checks", "Checks by result.", [*_VERSION, "result"], registry=registry
        )
        self.told = Counter(
            "mlops_drift_told",
            "What was told of drift: a run, an alert, a training request; and whether it was taken.",
            ["what", "result"],
            registry=registry,
        )
        self._columns: dict[Key, set[str]] = {}

    def show(self, key: Key, report: Report) -> None:
        """Set the gauges of a version to what a check found."""
        labels = (key[0], str(key[1]))
        self._rows.labels(*labels).set(report.rows[1])
        result = "undecided" if not report.decided else "drift" if report.drifted else "no drift"
        self.checks.labels(*labels, result).inc()
        if not report.decided:
            return
        self._detected.labels(*labels).set(bool(report.drifted))
        shown = [c for c in report.columns if len(report.columns) <= MOST_COLUMNS or c.drifted]
        for column in shown:
            self._psi.labels(*labels, column.name).set(column.found.psi)
            self._column.labels(*labels, column.name).set(column.drifted)
            if column.found.distance is not None:
                self._ks.labels(*labels, column.name).set(column.found.distance)
        self._columns[key] = {column.name for column in shown}

    def forget(self, key: Key) -> None:
        """Take a version's gauges away: it is served no more."""
        labels = (key[0], str(key[1]))
        for column in self._columns.pop(key, set()):
            for gauge in (self._psi, self._ks, self._column):
                gauge.remove(*labels, column)
        for gauge in (self._detected, self._rows):
            gauge.remove(*labels)
