"""A release is judged by the requests that it answers beside the live one."""

import random

from mlops_sdk.release.gates import ErrorRate, Gates, Latency, PredictionDrift
from mlops_sdk.rollout.verify.metrics import Sample
from mlops_sdk.rollout.verify.traffic import Seen, traffic_checks

ALL = Gates(
    error_rate=ErrorRate(at_most=0.01),
    latency=Latency(ratio_at_most=1.5),
    prediction_drift=PredictionDrift(at_most=0.25),
    min_samples=100,
)


def seen(ok: int, errors: int = 0, *, slow: bool = False, scores: tuple[float, ...] = ()) -> Seen:
    total = float(ok + errors)
    within = {0.05: 0.0 if slow else total, 0.5: total, float("inf"): total}
    return Seen(Sample({200: float(ok), 500: float(errors)}, within), {"ranker": list(scores)})


def normal(mean: float, count: int = 400) -> tuple[float, ...]:
    chance = random.Random(1)
    return tuple(chance.gauss(mean, 1.0) for _ in range(count))


def words(release: Seen, live: Seen, gates: Gates = ALL) -> dict[str, str]:
    return {check.name: check.word for check in traffic_checks(gates, release, live)}


def test_a_release_that_is_as_good_as_the_live_one_passes() -> None:
    assert words(seen(400, scores=normal(0)), seen(400, scores=normal(0.02))) == {
        "error rate": "ok",
        "latency p95": "ok",
        "prediction drift of ranker": "ok",
    }


def test_errors_slowness_and_other_predictions_each_fail_their_gate() -> None:
    live = seen(400, scores=normal(0))
    assert words(seen(390, 10, scores=normal(0)), live)["error rate"] == "FAIL"
    assert words(seen(400, slow=True, scores=normal(0)), live)["latency p95"] == "FAIL"
    assert words(seen(400, scores=normal(2)), live)["prediction drift of ranker"] == "FAIL"


def test_too_few_samples_are_waited_for() -> None:
    assert set(words(seen(99, scores=normal(0, 99)), seen(400, scores=normal(0))).values()) == {"wait"}


def test_too_few_samples_of_the_live_release_are_waited_for_where_it_is_compared_with() -> None:
    found = words(seen(400, scores=normal(0)), seen(10, scores=normal(0, 10)))
    assert found == {"error rate": "ok", "latency p95": "wait", "prediction drift of ranker": "wait"}


def test_errors_that_no_success_can_outweigh_fail_at_once() -> None:
    assert words(seen(0, 2), seen(400))["error rate"] == "FAIL"
    assert words(seen(0, 1), seen(400))["error rate"] == "wait"


def test_no_request_at_all_is_no_success() -> None:
    assert words(Seen(), Seen()) == {"error rate": "wait", "latency p95": "wait", "prediction drift": "wait"}


def test_a_model_that_only_one_release_has_is_not_compared() -> None:
    release = Seen(seen(400).requests, {"ranker": list(normal(0)), "other": [1.0]})
    assert "prediction drift of other" not in words(release, seen(400, scores=normal(0)))


def test_undeclared_gates_are_not_judged() -> None:
    assert words(seen(0, 400), seen(400), Gates()) == {}
