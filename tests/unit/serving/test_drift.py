"""Drift: what columns are compared by, when one has drifted, and what the window remembers. Pure."""

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from prometheus_client import CollectorRegistry
from scipy import stats

from mlops_sdk.release.drift import stability_index
from mlops_sdk.serving.drift.decision import Rules, columns_of, judge
from mlops_sdk.serving.drift.metrics import DriftMetrics
from mlops_sdk.serving.drift.monitor import Monitor, Told
from mlops_sdk.serving.drift.statistics import chi_squared, compare, holm, kind_of, kolmogorov_smirnov
from mlops_sdk.serving.drift.window import SPANS, Reservoir, Window

CHANCE = np.random.default_rng(7)
KEY = ("iris", 1)


def test_the_tests_are_scipys() -> None:
    old, new = CHANCE.normal(size=300), CHANCE.normal(0.3, size=200)
    expected = stats.ks_2samp(old, new, method="asymp")
    assert kolmogorov_smirnov(old, new) == (expected.statistic, expected.pvalue)
    table = np.array([[30.0, 50, 20], [25, 40, 60]])
    assert chi_squared(table) == stats.chi2_contingency(table, correction=False).pvalue


def test_rare_categories_are_taken_together_before_they_are_tested() -> None:
    table = np.array([[100.0, 90, 3, 2, 1], [110, 80, 2, 3, 1]])
    together = np.array([[100.0, 90, 6], [110, 80, 6]])
    assert chi_squared(table) == stats.chi2_contingency(together, correction=False).pvalue


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holms_correction_is_never_kinder_than_none_nor_harder_than_bonferronis(
    p_values: list[float],
) -> None:
    found = holm(p_values)
    for before, after in zip(p_values, found, strict=True):
        assert before <= after <= min(1.0, before * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert sorted(found) == [found[index] for index in order]


def test_holms_correction_is_that_of_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


NUMBERS = arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6) | st.just(math.nan))


@given(NUMBERS, NUMBERS)
def test_a_column_of_numbers_is_never_further_from_itself_than_from_another(old: Any, new: Any) -> None:
    same, other = compare(old, old, "numeric"), compare(old, new, "numeric")
    assert same.psi == pytest.approx(0)
    assert (same.distance, same.p_value) == (0.0, 1.0)
    assert other.psi >= 0
    assert other.distance is not None
    assert 0 <= other.distance <= 1
    assert 0 <= other.p_value <= 1


@given(st.integers(0, 2**32 - 1), st.integers(40, 500))
def test_the_index_of_numbers_is_the_one_that_releases_are_compared_by(seed: int, count: int) -> None:
    chance = np.random.default_rng(seed)
    old, new = chance.normal(size=count), chance.normal(0.5, size=count)
    assert compare(old, new, "numeric").psi == pytest.approx(stability_index(old.tolist(), new.tolist()))


WORDS = st.lists(st.sampled_from(["a", "b", "c", "", "1", None]), min_size=1, max_size=200)


@given(WORDS, WORDS)
def test_categories_have_an_index_and_a_p_value(old: list[Any], new: list[Any]) -> None:
    first, second = (np.array(values, dtype=object) for values in (old, new))
    found = compare(first, second, "categorical")
    assert found.psi >= 0
    assert found.distance is None
    assert 0 <= found.p_value <= 1
    assert compare(first, first, "categorical").psi == pytest.approx(0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([0.5, 1.5]), "numeric"),
        (np.arange(100), "numeric"),
        (np.array([0, 1] * 50), "categorical"),
        (np.array([True, False]), "categorical"),
        (np.array(["a", None], dtype=object), "categorical"),
    ],
)
def test_whole_numbers_of_few_values_are_categories(values: Any, kind: str) -> None:
    assert kind_of(values) == kind


def columns(rows: int, **shift: float) -> dict[str, Any]:
    return {name: CHANCE.normal(shift.get(name, 0.0), size=rows) for name in ("a", "b", "c")}


def test_only_the_column_that_moved_has_drifted() -> None:
    report = judge(columns(1000), columns(500, b=1.0), Rules())
    assert report.drifted == ("b",)
    document = report.document()
    assert document["drift"] is True
    assert document["columns"]["b"]["drifted"] is True


def test_a_difference_that_is_significant_but_small_is_no_drift() -> None:
    report = judge(columns(50_000), columns(50_000, a=0.1), Rules())
    assert report.columns[0].p_value < 1e-6
    assert report.drifted == ()


def test_few_rows_decide_nothing_however_far_apart_they_are() -> None:
    report = judge(columns(1000), columns(99, a=10.0), Rules())
    assert (report.decided, report.drifted, report.document()["drift"]) == (False, (), None)


def test_values_that_go_missing_are_drift() -> None:
    sample = columns(500)
    sample["c"][:150] = math.nan
    assert judge(columns(1000), sample, Rules()).drifted == ("c",)


def test_a_category_that_is_new_or_grows_is_drift() -> None:
    old = {"genre": np.array(["drama", "comedy"] * 300, dtype=object)}
    new = {"genre": np.array(["drama", "comedy", "western"] * 100, dtype=object)}
    assert judge(old, new, Rules()).drifted == ("genre",)
    assert judge(old, old, Rules()).drifted == ()


def test_the_same_value_is_the_same_category_whatever_type_a_source_gives_it() -> None:
    old = {"flag": np.array([0, 1] * 100)}
    for new in (
        np.array([False, True] * 100),
        np.array([0.0, 1.0] * 100),
        np.array([1, 0] * 100, dtype=object),
    ):
        assert judge(old, {"flag": new}, Rules()).columns[0].found.psi == pytest.approx(0)


def test_columns_of_objects_are_numbers_where_all_of_them_are() -> None:
    matrix = np.array([[1, "x", None], [2.5, "y", 3]], dtype=object)
    found = columns_of(matrix, ["n", "t", "m"])
    assert found["n"].dtype == float
    assert found["t"].tolist() == ["x", "y"]
    assert math.isnan(found["m"][0])


@given(st.integers(1, 50), st.lists(st.integers(1, 30), max_size=30), st.integers(0, 2**32 - 1))
def test_a_reservoir_keeps_rows_that_it_was_shown_and_no_more_than_fit(
    capacity: int, batches: list[int], seed: int
) -> None:
    reservoir, shown = Reservoir(capacity, np.random.default_rng(seed)), 0
    for rows in batches:
        reservoir.add(np.arange(shown, shown + rows, dtype=float).reshape(-1, 1))
        shown += rows
    kept = [float(row[0]) for row in reservoir.rows()]
    assert len(kept) == len(set(kept)) == min(capacity, shown)
    assert all(0 <= value < shown for value in kept)


def test_a_reservoir_is_fair_to_early_and_late_rows() -> None:
    counts = np.zeros(1000)
    for seed in range(400):
        reservoir = Reservoir(50, np.random.default_rng(seed))
        for begin in range(0, 1000, 7):
            reservoir.add(np.arange(begin, min(begin + 7, 1000), dtype=float).reshape(-1, 1))
        counts[[int(row[0]) for row in reservoir.rows()]] += 1
    by_tenth = counts.reshape(10, 100).sum(axis=1)
    assert stats.chisquare(by_tenth).pvalue > 1e-4


def rows_of(window: Window, now: float) -> list[float]:
    found = window.rows(KEY, now)
    return [] if found is None else sorted(found[:, 0].tolist())


def test_the_window_forgets_what_is_older_than_it_is_long() -> None:
    window = Window(length_s=100, capacity=1000, seed=1)
    for second in range(250):
        window.add(KEY, np.array([[float(second)]]), 1000.0 + second)
    kept = rows_of(window, 1249)
    assert kept[0] >= 149
    assert kept[-1] == 249
    assert rows_of(window, 1249 + 200) == []


def test_the_window_reaches_back_under_load() -> None:
    window = Window(length_s=100, capacity=10 * SPANS, seed=1)
    for second in range(100):
        window.add(KEY, np.full((1000, 1), float(second)), 1000.0 + second)
    kept = rows_of(window, 1099)
    assert len(kept) == 10 * SPANS
    assert kept[0] < 10


def test_versions_have_windows_of_their_own() -> None:
    window = Window(length_s=100, capacity=1000, seed=1)
    window.add(("iris", 1), np.array([[1.0]]), 1000)
    window.add(("iris", 2), np.array([[2.0]]), 1000)
    assert window.rows(("iris", 2), 1000) == np.array([[2.0]])
    window.forget(("iris", 2))
    assert window.rows(("iris", 2), 1000) is None


def test_a_look_that_fails_is_not_the_last_one(tmp_path: Path) -> None:
    looks: list[str] = []

    def served() -> dict[tuple[str, int], list[str]]:
        looks.append("look")
        raise ValueError("a fault of this one")

    nobody: Any = None
    monitor = Monitor(
        Window(length_s=60, capacity=10),
        served,
        runs=nobody,
        samples=nobody,
        metrics=DriftMetrics(CollectorRegistry()),
        told=Told(),
        lock=tmp_path / "lock",
        rules=Rules(),
        every_s=0.0,
    )

    async def look_three_times() -> None:
        running = asyncio.create_task(monitor.run())
        while len(looks) < 3:
            assert not running.done()
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(asyncio.wait_for(look_three_times(), 30))
