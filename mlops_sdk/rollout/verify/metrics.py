"""What a service's metrics say about the requests of a stretch of time: two scrapes, and their difference. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

REQUESTS = "mlops_requests"
SECONDS = "mlops_request_duration_seconds"


@dataclass(frozen=True)
class Sample:
    """Counters of one release: answers by HTTP status, and how many took at most so many seconds."""

    answers: Mapping[int, float] = field(default_factory=dict)
    within: Mapping[float, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Answers."""
        return round(sum(self.answers.values()))

    @property
    def errors(self) -> int:
        """Answers with 5xx."""
        return round(sum(count for code, count in self.answers.items() if code >= 500))

    def since(self, before: "Sample") -> "Sample":
        """What came after `before`. A service that was started again counts from nothing."""
        if self.total < before.total:
            return self
        return Sample(
            {code: count - before.answers.get(code, 0) for code, count in self.answers.items()},
            {bound: count - before.within.get(bound, 0) for bound, count in self.within.items()},
        )

    def quantile(self, q: float) -> float | None:
        """The q-quantile of the time to answer in seconds; None where nothing was answered.

        Interpolated within the bucket, as Prometheus' `histogram_quantile` does; of the last one its lower bound.
        """
        bounds = sorted(self.within)
        total = self.within[bounds[-1]] if bounds else 0
        if total <= 0:
            return None
        rank = q * total
        lower, below = 0.0, 0.0
        for bound in bounds:
            if self.within[bound] >= rank:
                if math.isinf(bound):
                    return lower
                share = (rank - below) / (self.within[bound] - below) if self.within[bound] > below else 0.0
                return lower + (bound - lower) * share
            lower, below = bound, self.within[bound]
        return lower


def parse(text: str) -> Sample:
    """The counters in Prometheus' text format; other metrics do not matter. Raises ValueError for other text."""
    from prometheus_client.parser import text_string_to_metric_families  # a tenth of a second

    answers: dict[int, float] = {}
    within: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{REQUESTS}_total":
                code = int(sample.labels["code"])
                answers[code] = answers.get(code, 0) + sample.value
            elif sample.name == f"{SECONDS}_bucket":
                bound = float(sample.labels["le"])
                within[bound] = within.get(bound, 0) + sample.value
    return Sample(answers, within)
