"""What is said of a build that goes on."""

import pytest

from mlops_sdk.state.progress import Meter, Progress


@pytest.mark.parametrize(
    ("progress", "says"),
    [
        (Progress(5, None, None, None), "5 rows"),
        (Progress(1500, 10_000, 100.0, 85.0), "1,500 of 10,000 rows, 100 rows/s, 1 min 25 s left"),
        (Progress(1500, None, 100.0, None), "1,500 rows, 100 rows/s"),
        (Progress(1, 10**7, 1000.0, 9999.0), "1 of 10,000,000 rows, 1,000 rows/s, 2 h 46 min left"),
    ],
)
def test_progress_in_words(progress: Progress, says: str) -> None:
    assert str(progress) == says


def test_the_rate_of_an_attempt_leaves_out_rows_of_the_one_before() -> None:
    now = 0.0
    lines: list[Progress] = []
    meter = Meter(1000, lines.append, clock=lambda: now)
    meter.total = 2000
    now = 10.0
    meter.add(100)
    now = 10.5
    meter.add(100)  # too soon for another line
    assert lines == [Progress(1100, 2000, 10.0, 90.0)]
    meter.report()
    assert lines[-1].rows == 1200


def test_what_is_over_soon_is_not_reported_unless_asked_for_at_once() -> None:
    now = 0.0
    lines: list[Progress] = []
    meter = Meter(0, lines.append, at_once=False, clock=lambda: now)
    now = 1.9
    meter.add(100)
    assert lines == []
    now = 2.1
    meter.add(100)
    assert [line.rows for line in lines] == [200]
