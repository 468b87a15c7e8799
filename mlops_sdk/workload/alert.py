"""Tells people of dates that were not confirmed: in the log, and by a webhook. It must not decide what is wrong.

The body is JSON; its `text` is one sentence, so that a chat's incoming webhook shows it as it is. The header
`webhook-id` is the same for the same runs: a receiver can tell an alert that was sent twice.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import stamina
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError
from mlops_sdk.workload.orchestrate import Outcome

TIMEOUT_S = 5.0
ATTEMPTS = 3
SHOWN = 20  # dates that an alert names; a backfill may have hundreds
_ALERTS = UUID("0d0f1c1b-5a0e-5b0e-8f57-616c65727473")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """Where alerts of an environment go. Without a `webhook` only to the log."""

    environment: str
    release: str
    webhook: SecretStr | None = None

    def send(self, outcomes: Sequence[Outcome]) -> None:
        """Tell of these outcomes, none of which is confirmed. Raises UnreachableError if no attempt was accepted."""
        body = self.body(outcomes)
        _log.error("%s", body["text"])
        if self.webhook is not None:
            self._post(self.webhook, body, _identity(outcomes))

    def body(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """The alert as JSON values."""
        count = f"{len(outcomes)} dates" if len(outcomes) > 1 else "1 date"
        first = outcomes[0]
        return {
            "type": "job.unconfirmed",
            "text": f"{self.environment}: {count} of {first.job} not confirmed; {first.run_date}: {first.why}",
            "environment": self.environment,
            "release": self.release,
            "job": first.job,
            "count": len(outcomes),
            "runs": [
                {
                    "run": str(one.run),
                    "run_date": one.run_date.isoformat(),
                    "status": one.status,
                    "why": one.why,
                }
                for one in outcomes[:SHOWN]
            ],
        }

    def _post(self, url: SecretStr, body: dict[str, Any], identity: str) -> None:
        import httpx

        try:
            for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=ATTEMPTS, timeout=30.0):
                with attempt:
                    httpx.post(
                        url.get_secret_value(),
                        json=body,
                        headers={"webhook-id": identity},
                        timeout=TIMEOUT_S,
                        trust_env=False,
                    ).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Not its text, and no chain: an address may carry a token.
            raise UnreachableError(
                f"the alert's receiver did not take it ({type(error).__name__})",
                remedy="is stack config `mlops-sdk:alertWebhook` right?",
            ) from None


def _identity(outcomes: Sequence[Outcome]) -> str:
    return f"msg_{uuid5(_ALERTS, ' '.join(f'{one.run}/{one.status}/{one.why}' for one in outcomes)).hex}"
