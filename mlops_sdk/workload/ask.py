"""Asks for runs of jobs, and how they go: by messages, or by an invoker over HTTP. It must not run a job itself."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.workload.jobs import KIND, Job, run_id
from mlops_sdk.workload.runs import Runs

TIMEOUT_S = 10.0
_NOBODY = UUID(int=0)
_ERRORS: dict[int, type[MlopsError]] = {401: AuthError, 404: NotFoundError, 409: PolicyError, 422: InputError}


@dataclass(frozen=True)
class Asked:
    """The one run of a job and date; `queued` is False where it was on its way or done already."""

    run: UUID
    queued: bool


class Ask(Protocol):
    """Who can be asked for runs. Each method raises UnreachableError when nobody answers, and may be called again."""

    def health(self) -> None:
        """Whether runs can be asked for now."""
        ...

    def request(self, job: Job, day: date) -> Asked:
        """Have the run queued, unless it is on its way or done."""
        ...

    def read(self, run: UUID) -> dict[str, Any] | None:
        """The run as `Runs.read` has it; None while it is not written down yet."""
        ...


@dataclass(frozen=True)
class MessengerAsk:
    """By a message to the release's job consumer, and the table of runs."""

    app: str
    environment: str
    runs: Runs
    messenger: Messenger

    def health(self) -> None:
        """See Ask."""
        self.runs.read(_NOBODY)

    def request(self, job: Job, day: date) -> Asked:
        """See Ask."""
        run = run_id(self.app, self.environment, job.name, day)
        # One run at a time for an ordered job: dates are done in the order in which they were asked for.
        message = Envelope(
            id=run,
            kind=KIND,
            run_date=day,
            payload={"job": job.name},
            ordering_key=job.name if job.ordered else None,
        )
        return Asked(run, self.runs.request(run, job.name, day, lambda: self.messenger.publish(message)))

    def read(self, run: UUID) -> dict[str, Any] | None:
        """See Ask."""
        return self.runs.read(run)


@dataclass(frozen=True)
class InvokerAsk:
    """By an invoker over HTTP; `url` is its address, `token` what it wants to be shown."""

    url: str
    token: SecretStr

    def health(self) -> None:
        """See Ask."""
        self._call("GET", "healthcheck")

    def request(self, job: Job, day: date) -> Asked:
        """See Ask. Raises AuthError, NotFoundError, PolicyError or InputError as the invoker says."""
        answer = self._call("POST", "invoke", job=job.name, run_date=day.isoformat())
        return Asked(UUID(answer["run"]), bool(answer["queued"]))

    def read(self, run: UUID) -> dict[str, Any] | None:
        """See Ask."""
        try:
            found: dict[str, Any] = self._call("GET", f"runs/{run}")
        except NotFoundError:
            return None
        return found

    def _call(self, method: str, path: str, **params: str) -> Any:
        import httpx

        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        try:
            answer = httpx.request(
                method,
                f"{self.url.rstrip('/')}/{path}",
                params=params,
                headers=headers,
                timeout=TIMEOUT_S,
                trust_env=False,
            )
            if answer.status_code < 500:
                document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnreachableError(
                f"the invoker did not answer ({type(error).__name__})", where=self.url
            ) from error
        if answer.status_code >= 500:
            raise UnreachableError(f"the invoker answered {answer.status_code}", where=self.url)
        if not isinstance(document, dict) or (answer.is_error and not isinstance(document.get("error"), str)):
            raise InputError(
                "what answers there is no invoker", where=self.url, remedy="is its address right?"
            )
        if answer.is_error:
            kind = _ERRORS.get(answer.status_code, MlopsError)
            raise kind(document["error"], where=self.url, remedy=document.get("remedy") or "")
        return document


__all__ = ["Ask", "Asked", "InvokerAsk", "MessengerAsk"]
