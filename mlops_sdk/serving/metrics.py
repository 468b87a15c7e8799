"""The metrics that every service exposes; gates scrape them from each release's own port.

One registry a service, so that two services in a process (as in tests) count apart.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. Finer than the client's defaults where recommendations are: 5 to 100 ms.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ServiceMetrics:
    """Counters of one release's service. Label `release` is the tag, `code` the HTTP status."""

    def __init__(self, release: str) -> None:
        self.registry = CollectorRegistry()
        self._answered = _Answered(release)
        self.registry.register(self._answered)
        self.answered = self._answered.count
        self.in_flight = Gauge(
            "mlops_requests_in_flight",
            "Requests being answered.",
            ["release"],
            registry=self.registry,
        ).labels(release)
        self.resent = Counter(
            "mlops_writes_resent",
            "Writes that this release was not allowed and that were sent to the current one.",
            ["release"],
            registry=self.registry,
        ).labels(release)
        self.predictions_dropped = Counter(
            "mlops_predictions_dropped",
            "Predictions that did not reach the prediction log.",
            ["release"],
            registry=self.registry,
        ).labels(release)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Answered(Collector):
    """Requests and their times, counted with plain numbers: the client library's own take a lock for each."""

    def __init__(self, release: str) -> None:
        self._release = release
        self._codes: dict[int, int] = {}
        self._buckets = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0

    def count(self, code: int, seconds: float) -> None:
        """Count one request that was answered with status `code`."""
        self._codes[code] = self._codes.get(code, 0) + 1
        self._buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("mlops_requests", "Requests answered.", labels=("release", "code"))
        for code, count in self._codes.items():
            requests.add_metric((self._release, str(code)), count)
        seconds = HistogramMetricFamily(
            "mlops_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            labels=("release",),
        )
        total, buckets = 0, []
        for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), self._buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        seconds.add_metric((self._release,), buckets, self._seconds)
        return requests, seconds
