"""What a job is, and which run a request means. Pure: no server, no clock.

JOBS = Jobs(Job("rfm", "pipelines.rfm.job:run", time_limit_s=3600))
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from uuid import UUID, uuid5

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.runtime.queues import EVENTS
from mlops_sdk.workload.checks import Check

KIND = "job"
QUEUE = EVENTS
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME = re.compile(r"[\x21-\x7e]{1,200}")
_RUNS = UUID("6f7a0f52-6f0c-5d2b-9f57-6d6c6f707321")


@dataclass(frozen=True)
class Job:
    """A function that does the work of one date.

    `function` is `package.module:function`; it takes a JobContext, and what it returns (JSON values) is kept as the
    run's result. It is run in a process of its own, which is ended after `time_limit_s`. `checks` are what must hold
    when it has done a date. The dates of an `ordered` job are done one at a time, in the order in which they were
    asked for.
    """

    name: str
    function: str
    time_limit_s: float = 3600.0
    checks: tuple[Check, ...] = ()
    ordered: bool = True

    def __post_init__(self) -> None:
        module, _, attribute = self.function.partition(":")
        # The name is the ordering key of its messages.
        if not (module and attribute and _NAME.fullmatch(self.name) and self.time_limit_s > 0):
            raise InputError(
                f"job `{self.name}` with function `{self.function}` and time limit {self.time_limit_s} s",
                remedy="a job has a name of ASCII without spaces, a function `package.module:function` and a time "
                "limit above 0",
            )


class Jobs:
    """The jobs of a release, by name. Its consumer does `at_once` of them side by side."""

    def __init__(self, *jobs: Job, at_once: int = 1) -> None:
        self._jobs = {job.name: job for job in jobs}
        self.at_once = at_once
        if at_once < 1:
            raise InputError(f"{at_once} jobs at once", remedy="say 1 or more")
        if len(self._jobs) != len(jobs):
            raise InputError("two jobs have one name")

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def job(self, name: str | None) -> Job:
        """The job of this name; without a name the only one there is. Raises NotFoundError, or InputError."""
        known = ", ".join(self._jobs) or "none"
        if name is None:
            if len(self._jobs) == 1:
                return next(iter(self))
            raise InputError("which job?", where="job", remedy=f"say job=NAME; jobs: {known}")
        if name not in self._jobs:
            raise NotFoundError(f"there is no job `{name}`", where="job", remedy=f"jobs: {known}")
        return self._jobs[name]


def run_id(app: str, environment: str, job: str, run_date: date) -> UUID:
    """The id of the one run of this job and date: it is the id of the message, so that its marks are the run's."""
    return uuid5(_RUNS, f"{app}/{environment}/{job}/{run_date.isoformat()}")


def checked_date(text: str | None, today: date) -> date:
    """The date `YYYY-MM-DD`. Raises InputError for another form, for no day of the calendar, and for the future."""
    if text is None:
        raise InputError("run_date is missing", where="run_date", remedy="say run_date=YYYY-MM-DD")
    try:
        found = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise InputError(f"`{text[:40]}` is no date", where="run_date", remedy="say run_date=YYYY-MM-DD")
    if found > today:
        raise InputError(
            f"{found} is in the future",
            where="run_date",
            remedy=f"today is {today}: what is not over has no data",
        )
    return found
