"""The duty `observe`: compares what runs with what the ledger says, and records when that has changed.

It mends nothing: what differs is shown by the page and by `mlops status`, each with its remedy.
"""

from dataclasses import dataclass

from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.environment.session import AGENT
from mlops_sdk.rollout.observed.drift import Difference
from mlops_sdk.rollout.observed.runtime import drift, record_differences


@dataclass
class Observe:
    """The duty. It records what it has seen twice in a row: once may be a process that is just being started.

    With `at_once` the first look counts: a person has asked.
    """

    at_once: bool = False
    _before: list[Difference] | None = None

    def __call__(self, work: Work) -> Did:
        """Look once. Raises UnreachableError without Postgres; what else does not answer is a difference."""
        found = drift(work.session)
        settled, self._before = self.at_once or found == self._before, found
        entry = record_differences(work.session, found, actor=AGENT) if settled else None
        recorded = f" (entry #{entry.n})" if entry else ""
        return Did(_sentence(found) + recorded)


def _sentence(found: list[Difference]) -> str:
    if not found:
        return "all is as the ledger says"
    count = "1 difference stands" if len(found) == 1 else f"{len(found)} differences stand"
    return f"{count}: " + "; ".join(f"{one.part}: {one.what}" for one in found)
