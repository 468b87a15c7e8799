"""The orchestrator of a release, for its flows: everything that `orchestrate` needs, from the variables alone.

    with orchestrator(ServiceSettings.parse(), report=get_run_logger().info) as orchestrator:
        orchestrator.run("rfm", last_days(3))

It must not import Prefect: a flow is thin, and what it does can be called without it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from mlops_sdk.errors import AuthError, InputError, MlopsError, PolicyError, UnreachableError
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.open import open_transport
from mlops_sdk.messaging.pointer import is_live
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.alert import Alert
from mlops_sdk.workload.ask import Ask, InvokerAsk, MessengerAsk
from mlops_sdk.workload.confirm import confirm
from mlops_sdk.workload.consume import load_jobs
from mlops_sdk.workload.days import today_utc
from mlops_sdk.workload.jobs import QUEUE, Job, Jobs, run_id
from mlops_sdk.workload.orchestrate import PATIENCE_S, Orchestration, Outcome
from mlops_sdk.workload.runs import Runs

MOST_DATES = 3660


class NotConfirmedError(MlopsError):
    """Not every date that was asked for is done and confirmed; the text has each of them."""


@dataclass(frozen=True)
class Orchestrator:
    """What a flow of a live release calls."""

    settings: ServiceSettings
    jobs: Jobs
    ask: Ask
    alert: Alert
    is_live: Callable[[], bool]
    report: Callable[[str], None]
    patience_s: float = field(default=PATIENCE_S)

    def run(
        self,
        job: str | None,
        days: Iterable[date],
        *,
        at_once: int = 1,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
    ) -> tuple[Outcome, ...]:
        """Ask for these dates, wait for them and confirm them; with several under way at once, a backfill.

        `job` None: the only one there is. `timeout_s` is how long a date is waited for, by default
        `waited_for_s`. Raises NotConfirmedError after an alert was sent, UnreachableError and AuthError after one too,
        PolicyError where the release is not live (any more), InputError, NotFoundError.
        """
        wanted, dates = self.jobs.job(job), sorted(set(days))
        _require(dates, at_once)
        conninfo = self.settings.database_conninfo(application_name="mlops orchestrator")
        known: dict[date, Outcome] = {}
        orchestration = Orchestration(
            ask=self.ask,
            confirm=lambda job, day, result: confirm(conninfo, job.checks, day, result),
            report=self.report,
            at_once=at_once,
            timeout_s=timeout_s if timeout_s is not None else waited_for_s(wanted, at_once),
            patience_s=self.patience_s,
            poll_s=poll_s,
            allowed=self._require_live,
            ended=lambda one: known.update({one.run_date: one}),
        )
        try:
            outcomes = orchestration.run(wanted, dates)
        except (AuthError, UnreachableError) as away:
            self._tell(_wrong(known.get(day) or self._unknown(wanted, day, away) for day in dates), away)
            raise
        wrong = _wrong(outcomes)
        if wrong:
            error = NotConfirmedError(
                f"{len(wrong)} of {len(outcomes)} dates are not confirmed:\n"
                + "\n".join(f"  {one.line()}" for one in wrong),
                where=self.settings.environment,
                remedy="the invoker's /runs/RUN/log has what each run wrote; asking again does only these again",
            )
            self._tell(wrong, error)
            raise error
        return outcomes

    def _require_live(self) -> None:
        if not self.is_live():
            raise PolicyError(
                f"{self.settings.release} is not live: its jobs would write nothing",
                where=self.settings.environment,
                remedy="run the flow of the live release",
            )

    def _unknown(self, job: Job, day: date, error: MlopsError) -> Outcome:
        """Of a date that nobody can be asked about: it may still be done."""
        run = run_id(self.settings.app, self.settings.environment, job.name, day)
        return Outcome(job.name, day, run, "late", error.what)

    def _tell(self, outcomes: list[Outcome], error: MlopsError) -> None:
        """Send an alert; that this failed is no reason to hide `error`."""
        try:
            self.alert.send(outcomes)
        except MlopsError as untold:
            raise error from untold


@contextmanager
def orchestrator(
    settings: ServiceSettings,
    *,
    report: Callable[[str], None],
    invoker: bool | str = False,
    patience_s: float = PATIENCE_S,
) -> Iterator[Orchestrator]:
    """The orchestrator of the release that `settings` name; it asks by messages, or by an invoker.

    `invoker` True: the release's own, which `deploy` started; an address: the one there. Raises InputError for a
    release without jobs, or an invoker whose address or token is not among the variables.
    """
    if settings.jobs is None:
        raise InputError(
            f"{settings.release} has no jobs",
            where="MLOPS_JOBS",
            remedy="name them in the manifest: jobs: PACKAGE:JOBS",
        )
    conninfo = settings.database_conninfo(application_name="mlops orchestrator")
    transport = open_transport(QUEUE, conninfo=conninfo, pubsub_project=settings.pubsub_project)
    try:
        yield Orchestrator(
            settings=settings,
            jobs=load_jobs(settings.jobs),
            ask=_invoker(settings, invoker)
            if invoker
            else MessengerAsk(
                settings.app,
                settings.environment,
                Runs(conninfo, settings.release_digest),
                Messenger(transport, release=settings.release),
            ),
            alert=Alert(settings.environment, settings.release, settings.alert_webhook),
            is_live=lambda: is_live(
                conninfo, environment=settings.environment, digest=settings.release_digest
            ),
            report=report,
            patience_s=patience_s,
        )
    finally:
        transport.close()


def _invoker(settings: ServiceSettings, invoker: bool | str) -> InvokerAsk:
    url = invoker if isinstance(invoker, str) else settings.invoker_url
    if not url:
        raise InputError(
            f"{settings.release} has no invoker of its own here",
            where="MLOPS_INVOKER_URL",
            remedy="`mlops up ENV` of kind local gives it one; elsewhere say the invoker's address",
        )
    if settings.invoker_token is None:
        raise InputError("the invoker's token is missing", where="MLOPS_INVOKER_TOKEN")
    return InvokerAsk(url, settings.invoker_token)


def waited_for_s(job: Job, at_once: int) -> float:
    """Seconds in which a date can be done though all that were asked for with it are done before it, and one again."""
    return (at_once + 1) * job.time_limit_s


def _wrong(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if not one.ok]


def _require(days: list[date], at_once: int) -> None:
    today = today_utc()
    if not 1 <= len(days) <= MOST_DATES:
        raise InputError(f"{len(days)} dates", where="days", remedy=f"name 1 to {MOST_DATES:,} dates")
    if at_once < 1:
        raise InputError(f"{at_once} at once", where="at_once", remedy="say 1 or more")
    if days[-1] > today:
        raise InputError(
            f"{days[-1]} is in the future",
            where="days",
            remedy=f"today is {today}: what is not over has no data",
        )
