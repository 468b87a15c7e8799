"""The metrics of slots: counted with plain numbers on the hot path, shown to Prometheus when it asks.

The client library's own counters take a lock and a lookup each; here a request costs a bisection and two additions.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds: a compiled model answers below a millisecond.
BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LABELS = ("slot", "model", "version")


class LaneStats:
    """The numbers of one model version in one slot."""

    __slots__ = ("buckets", "codes", "in_flight", "labels", "rows", "seconds")

    def __init__(self, labels: tuple[str, str, str]) -> None:
        self.labels = labels
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        self.codes: dict[int, int] = {}
        self.in_flight = 0
        self.rows = 0

    def answered(self, code: int, seconds: Sequence[float]) -> None:
        """Count requests that were answered with `code`, each with its seconds."""
        buckets = self.buckets
        for each in seconds:
            buckets[bisect_left(BOUNDS_S, each)] += 1
        self.seconds += sum(seconds)
        self.codes[code] = self.codes.get(code, 0) + len(seconds)

    @property
    def total(self) -> int:
        """How many requests were answered."""
        return sum(self.buckets)


class SlotMetrics:
    """The registry of one worker, and what every part of the server counts in it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._lanes: dict[tuple[str, str, str], LaneStats] = {}
        self.registry.register(_Lanes(self._lanes))
        self.swaps = Counter(
            "mlops_model_swaps", "Changes of what a slot serves.", ["slot"], registry=self.registry
        )
        self.turn_backs = Counter(
            "mlops_turn_backs", "Times that `next` lost its traffic.", ["reason"], registry=self.registry
        )
        self.shadow_dropped = Counter(
            "mlops_shadow_dropped", "Shadow requests that were not shown to `next`.", registry=self.registry
        )
        self.refused = Counter(
            "mlops_requests_refused", "Requests that reached no model.", ["code"], registry=self.registry
        )
        self.share = Gauge(
            "mlops_canary_share_of_current",
            "Share of requests that `current` answers.",
            registry=self.registry,
        )
        self.generation = Gauge(
            "mlops_slots_generation",
            "Changes of the slots so far, as this worker knows.",
            registry=self.registry,
        )

    def lane(self, slot: str, model: str, version: int) -> LaneStats:
        """The numbers of a model version in a slot, the same ones each time."""
        return self.keep(LaneStats((slot, model, str(version))))

    def keep(self, lane: LaneStats) -> LaneStats:
        """`lane`, unless there are numbers of its labels already."""
        return self._lanes.setdefault(lane.labels, lane)


class _Lanes(Collector):
    """Shows lanes as Prometheus' families."""

    def __init__(self, lanes: dict[tuple[str, str, str], LaneStats]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterable[Metric]:
        yield from self._families(list(self._lanes.values()))

    def _families(self, lanes: Sequence[LaneStats]) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "mlops_model_request_duration_seconds",
            "Time from a request's head to its answer.",
            labels=_LABELS,
        )
        requests = CounterMetricFamily(
            "mlops_model_requests", "Requests answered.", labels=(*_LABELS, "code")
        )
        rows = CounterMetricFamily("mlops_model_rows", "Rows predicted.", labels=_LABELS)
        in_flight = GaugeMetricFamily("mlops_model_in_flight", "Requests being answered.", labels=_LABELS)
        for lane in lanes:
            total, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), lane.buckets, strict=True):
                total += count
                buckets.append((bound, float(total)))
            seconds.add_metric(lane.labels, buckets, lane.seconds)
            for code, count in lane.codes.items():
                requests.add_metric((*lane.labels, str(code)), count)
            rows.add_metric(lane.labels, lane.rows)
            in_flight.add_metric(lane.labels, lane.in_flight)
        return iter((seconds, requests, rows, in_flight))
