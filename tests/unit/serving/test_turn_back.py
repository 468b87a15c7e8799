"""When `next` loses its traffic, and when nothing is decided; and that a share only ever moves keys one way."""

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.release.buckets import bucket
from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.slots.canary import Canary
from mlops_sdk.serving.slots.turn_back import KEPT, Side, TurnBackRules, Watch, judge, proportions_z
from tests.support.serving import ADMIN, serving, settings_of, snapshot_of

RULES = TurnBackRules()
NOBODY: Any = None


def side(
    *, requests: int = 0, failed: int = 0, seconds: float = 0.001, answers: Sequence[object] = (0, 1)
) -> Side:
    """A side that answered so many requests, and failed so many."""
    found = Side(NOBODY)
    for number in range(requests):
        found.answered([seconds], np.array([answers[number % len(answers)]]))
    found.failed(failed)
    return found


def test_too_few_requests_on_a_side_decide_nothing() -> None:
    bad = side(failed=99)
    assert judge(RULES, side(requests=5_000), bad).worse == ""
    assert judge(RULES, side(requests=99), side(failed=500)).worse == ""
    assert "100 are needed" in judge(RULES, side(), side()).said


def test_a_slot_that_is_no_worse_keeps_its_traffic() -> None:
    assert judge(RULES, side(requests=500), side(requests=500)).worse == ""


def test_more_errors_turn_it_back() -> None:
    found = judge(RULES, side(requests=1_000), side(requests=180, failed=20))
    assert found.worse == "errors"
    assert found.said == "10.00% of next's requests failed, 0.00% of current's"


def test_errors_that_chance_explains_do_not() -> None:
    assert judge(RULES, side(requests=1_000, failed=20), side(requests=193, failed=7)).worse == ""


def test_errors_of_both_alike_do_not() -> None:
    assert judge(RULES, side(requests=500, failed=500), side(requests=500, failed=500)).worse == ""


def test_a_longer_latency_turns_it_back_unless_it_is_short_anyway() -> None:
    slow = judge(RULES, side(requests=200, seconds=0.010), side(requests=200, seconds=0.020))
    assert slow.worse == "latency"
    assert judge(RULES, side(requests=200, seconds=0.001), side(requests=200, seconds=0.004)).worse == ""
    assert judge(RULES, side(requests=200, seconds=0.100), side(requests=200, seconds=0.130)).worse == ""


def test_other_predictions_turn_it_back_unless_that_is_meant() -> None:
    other = side(requests=300, answers=(7, 8))
    assert judge(RULES, side(requests=300), other).worse == "predictions"
    assert judge(replace(RULES, drift_above=None), side(requests=300), other).worse == ""


def test_shadow_requests_count_for_predictions_and_not_for_latency() -> None:
    following = Side(NOBODY)
    following.shadowed(np.array([7] * 300), 300)
    assert judge(RULES, side(requests=300), following).worse == "predictions"
    alike = Side(NOBODY)
    alike.shadowed(np.array([0, 1] * 150), 300)
    assert judge(RULES, side(requests=300), alike).worse == ""


def test_the_z_statistic_is_that_of_the_textbook() -> None:
    # Pooled share 0.15, standard error sqrt(0.15 * 0.85 * 2 / 100).
    assert proportions_z(20, 100, 10, 100) == pytest.approx(0.1 / np.sqrt(0.15 * 0.85 * 0.02))
    assert proportions_z(0, 10, 0, 10) == 0


def test_another_model_in_a_slot_begins_a_comparison_anew(iris: Prepared) -> None:
    watch, one, other = Watch(RULES), snapshot_of(iris), snapshot_of(iris)
    watch.side("current", one).answered([0.1] * 500, np.zeros(500))
    watch.side("next", one)
    watch.side("current", one).answered([0.1] * 500, np.zeros(500))
    assert watch.side("current", one).total == 500
    watch.side("next", other)
    assert watch.side("current", one).total == 0


@given(
    key=st.text(min_size=1, max_size=20).filter(lambda text: text.isascii() and text.isprintable()),
    one=st.floats(0, 1),
    other=st.floats(0, 1),
)
def test_as_the_share_of_next_grows_keys_only_move_from_current_to_next(
    key: str, one: float, other: float
) -> None:
    less, more = sorted((one, other), reverse=True)  # shares of current

    def slot(share: float) -> str:
        canary = Canary(share, "app", b"x-user")
        return canary.slot({b"x-user": key.encode()}, lambda: 0.5)

    if slot(less) == "next":
        assert slot(more) == "next"
    assert slot(1.0) == "current"
    assert slot(0.0) == "next"


@given(share=st.floats(0, 1))
def test_a_key_its_bucket_and_its_cookie_go_the_same_way(share: float) -> None:
    canary = Canary(share, "app", b"x-user")
    digits = bucket("app", "anna").encode()
    ways = [{b"x-user": b"anna"}, {b"x-mlops-bucket": digits}, {b"cookie": b"a=1; mlops_bucket=" + digits}]
    assert len({canary.slot(headers, lambda: 0.5) for headers in ways}) == 1


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80))
def test_a_key_keeps_its_bucket_whether_it_is_remembered_or_too_long_for_that(key: str) -> None:
    canary = Canary(0.5, "app", b"x-user")
    wanted = "next" if int(bucket("app", key), 16) < 128 else "current"
    assert [canary.slot({b"x-user": key.encode()}, lambda: 0.5) for _ in range(2)] == [wanted] * 2


@given(share=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True))
def test_without_a_key_chance_decides(share: float, chance: float) -> None:
    assert Canary(share).slot({}, lambda: chance) == ("next" if chance >= share and share < 1 else "current")


@pytest.mark.parametrize("bucket_text", [b"", b"0", b"zz", b"000", b"FF"])
def test_what_is_no_bucket_is_not_one(bucket_text: bytes) -> None:
    assert Canary(0.5).slot({b"x-mlops-bucket": bucket_text}, lambda: 0.9) == "next"
    assert Canary(0.5).slot({b"x-mlops-bucket": bucket_text}, lambda: 0.1) == "current"


ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


def test_a_next_with_other_predictions_loses_its_traffic_by_itself(
    iris: Prepared, other_iris: Prepared, tmp_path: Path
) -> None:
    rules = TurnBackRules(latency_above_s=60)  # how long anything takes is the machine's affair here
    with (
        serving(settings_of(tmp_path, turn_back=rules), iris, other_iris) as served,
        served.client() as client,
    ):
        client.post("/set-canary-probability", json={"probability": 0.5}, headers=ADMIN)
        deadline = time.monotonic() + 60
        while client.get("/").json()["canary_probability"] != 1.0:
            assert time.monotonic() < deadline, client.get("/canary").text
            for _ in range(50):
                client.post("/predict", json={"data": ROWS})
        found = client.get("/canary").json()["turned_back"]
        assert found["reason"] == "predictions"
        assert found["model"] == "models:/iris/2"
        assert found["share_of_current"] == 0.5
        assert 'mlops_turn_backs_total{reason="predictions"} 1.0' in client.get("/metrics").text
        assert client.post("/predict", json={"data": ROWS}).json()["model_used"] == "current"


def test_shadow_traffic_is_answered_by_current_alone_and_seen_by_next(
    iris: Prepared, other_iris: Prepared, tmp_path: Path
) -> None:
    rules = TurnBackRules(drift_above=None)
    with (
        serving(settings_of(tmp_path, turn_back=rules), iris, other_iris) as served,
        served.client() as client,
    ):
        client.post("/set-shadow-share", json={"share": 1.0}, headers=ADMIN)
        for _ in range(200):
            assert client.post("/predict", json={"data": ROWS}).json()["model_used"] == "current"
        side_of_next = served.server.watch.side("next", served.server.slots.next)  # type: ignore[arg-type]
        deadline = time.monotonic() + 30
        while side_of_next.total < 100:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert set(side_of_next.predictions()) <= {10, 11, 12}


def test_a_request_in_the_executor_waits_for_no_other_slot(iris: Prepared, tmp_path: Path) -> None:
    heavy = replace(iris, call_s=1.0)
    with serving(settings_of(tmp_path), heavy) as served, served.client() as client:
        assert not served.server.slots.current.inline(1)  # type: ignore[union-attr]
        answers = [client.post("/predict", json={"data": ROWS}).json()["predictions"] for _ in range(20)]
        assert answers == [[0, 2]] * 20


def test_predicting_for_others_happens_off_the_loop(iris: Prepared, tmp_path: Path) -> None:
    import pandas as pd

    with serving(settings_of(tmp_path), iris) as served:
        server, snapshot = served.server, served.server.slots.current
        assert snapshot is not None

        async def ask() -> list[int]:
            answers: list[int] = (await server.predict(snapshot, pd.DataFrame(ROWS))).tolist()
            return answers

        assert asyncio.run(ask()) == [0, 2]


def test_who_sends_no_key_can_be_given_a_cookie_that_keeps_the_slot(
    iris: Prepared, other_iris: Prepared, tmp_path: Path
) -> None:
    rules = TurnBackRules(latency_above_s=60, drift_above=None)
    settings = settings_of(tmp_path, sticky_cookie=True, turn_back=rules)
    with serving(settings, iris, other_iris) as served, served.client() as client:
        assert "set-cookie" not in client.post("/predict", json={"data": ROWS}).headers
        client.post("/set-canary-probability", json={"probability": 0.5}, headers=ADMIN)
        first = client.post("/predict", json={"data": ROWS})
        assert "mlops_bucket" in client.cookies
        used = {client.post("/predict", json={"data": ROWS}).json()["model_used"] for _ in range(16)}
        assert used == {first.json()["model_used"]}
        assert "set-cookie" not in client.post("/predict", json={"data": ROWS}).headers


def test_a_side_is_judged_while_it_answers() -> None:
    side, stop = Side(NOBODY), threading.Event()

    def answer() -> None:
        while not stop.is_set():
            side.answered([0.001], np.array([1]))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # what else is rare happens at once
    with ThreadPoolExecutor(1) as beside:
        answering = beside.submit(answer)
        try:
            while side.total < 2 * KEPT:
                pass
            for _ in range(50):
                assert len(side.predictions()) == KEPT
        finally:
            stop.set()
            sys.setswitchinterval(interval)
        answering.result()
