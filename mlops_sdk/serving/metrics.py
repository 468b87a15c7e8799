"""The metrics that every service exposes; gates scrape them from each release's own port.

One registry a service, so that two services in a process (as in tests) count apart.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. Finer than the client's defaults where recommendations are: 5 to 100 ms.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ServiceMetrics:
    """Counters of one release's service. Label `release` is the tag, `code` the HTTP status."""

    def __init__(self, release: str) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mlops_requests", "Requests answered.", ["release", "code"], registry=self._registry
        )
        self._release = release
        self._seconds = Histogram(
            "mlops_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            ["release"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        ).labels(release)
        self.in_flight = Gauge(
            "mlops_requests_in_flight",
            "Requests being answered.",
            ["release"],
            registry=self._registry,
        ).labels(release)
        self.resent = Counter(
            "mlops_writes_resent",
            "Writes that this release was not allowed and that were sent to the current one.",
            ["release"],
            registry=self._registry,
        ).labels(release)
        self.predictions_dropped = Counter(
            "mlops_predictions_dropped",
            "Predictions that did not reach the prediction log.",
            ["release"],
            registry=self._registry,
        ).labels(release)

    def answered(self, code: int, seconds: float) -> None:
        """Count one request that was answered with status `code`."""
        self._requests.labels(self._release, str(code)).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
