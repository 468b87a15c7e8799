"""What a job is, and which run a request means."""

from datetime import date
from typing import Any

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.workload.jobs import Job, Jobs, checked_date, run_id

TODAY = date(2026, 3, 1)


def test_one_job_and_date_of_an_environment_is_one_run() -> None:
    day = date(2026, 1, 31)
    assert run_id("shop", "local", "rfm", day) == run_id("shop", "local", "rfm", day)
    others = {
        run_id(*of)
        for of in (("shop", "stg", "rfm", day), ("shop", "local", "x", day), ("a", "local", "rfm", day))
    }
    assert len(others | {run_id("shop", "local", "rfm", day), run_id("shop", "local", "rfm", TODAY)}) == 5


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-1-1", "20260101", "2026-W05-6", "", "x" * 10, "٢٠٢٦-٠١-٠١"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no date"):
        checked_date(text, TODAY)


def test_a_day_that_is_not_over_may_be_today_and_not_later() -> None:
    assert checked_date("2026-03-01", TODAY) == TODAY
    with pytest.raises(InputError, match="in the future"):
        checked_date("2026-03-02", TODAY)
    with pytest.raises(InputError, match="missing"):
        checked_date(None, TODAY)


def test_a_job_without_a_name_is_the_only_one_there_is() -> None:
    one, two = Job("a", "m:f"), Job("b", "m:f")
    assert Jobs(one).job(None) == one
    with pytest.raises(InputError, match="which job"):
        Jobs(one, two).job(None)
    with pytest.raises(NotFoundError, match="no job `c`"):
        Jobs(one, two).job("c")
    with pytest.raises(InputError, match="one name"):
        Jobs(one, one)


@pytest.mark.parametrize("job", [("a", "m"), ("", "m:f"), ("a b", "m:f"), ("ä", "m:f"), ("a", "m:f", 0)])
def test_a_job_that_nobody_could_ask_for_is_refused_where_it_is_declared(job: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="a name of ASCII without spaces"):
        Job(*job)
