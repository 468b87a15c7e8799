"""Counters of a service: parsed from what it really exposes, and what a stretch of time says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.rollout.verify.metrics import Sample, parse
from mlops_sdk.serving.metrics import ServiceMetrics

ANSWERS = st.lists(
    st.tuples(st.sampled_from([200, 201, 404, 500, 503]), st.floats(0.0005, 20.0)), min_size=1, max_size=60
)


def exposed(*answers: tuple[int, float]) -> Sample:
    metrics = ServiceMetrics("v0.0.1")
    for code, seconds in answers:
        metrics.answered(code, seconds)
    return parse(metrics.text().decode())


def test_a_service_that_answered_nothing_has_no_quantile() -> None:
    sample = exposed()
    assert (sample.total, sample.errors, sample.quantile(0.95)) == (0, 0, None)


def test_answers_with_5xx_are_errors() -> None:
    sample = exposed((200, 0.1), (404, 0.1), (500, 0.1), (503, 0.1))
    assert (sample.total, sample.errors) == (4, 2)


@given(ANSWERS, ANSWERS)
def test_what_came_since_is_what_the_second_scrape_has_more(
    before: list[tuple[int, float]], later: list[tuple[int, float]]
) -> None:
    stretch = exposed(*before, *later).since(exposed(*before))
    assert stretch.total == len(later)
    assert stretch.errors == sum(code >= 500 for code, _ in later)
    assert stretch.quantile(0.5) == pytest.approx(exposed(*later).quantile(0.5))


def test_a_service_that_was_started_again_counts_from_nothing() -> None:
    assert exposed((500, 0.1)).since(exposed(*[(200, 0.1)] * 9)).errors == 1


@given(ANSWERS, st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_answer_it_means(
    answers: list[tuple[int, float]], q: float
) -> None:
    sample = exposed(*answers)
    exact = sorted(seconds for _, seconds in answers)[max(0, math.ceil(q * len(answers)) - 1)]
    upper = min(bound for bound in sample.within if exact <= bound)
    lower = max((bound for bound in sample.within if bound < upper), default=0.0)
    found = sample.quantile(q)
    assert found is not None
    assert lower <= found <= upper or (math.isinf(upper) and found == lower)


def test_a_metric_that_is_no_number_of_a_status_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse('# TYPE mlops_requests counter\nmlops_requests_total{release="a",code="x"} 1\n')
