"""Whose schedules run: those of the release that the pointer names, and nobody else's.

A flow's paused state is an input of no resource: it follows the pointer, here and nowhere else. It must not make a
flow's deployment or take one away.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from mlops_sdk.runtime.flow_marks import ASKED_TAG, FLOW_TAG
from mlops_sdk.traffic.prefect_api import call

WORK_POOL = "mlops"
"""The work pool of an environment whose variables name none."""

_PAGE = 200  # the most that Prefect answers at once


class Schedules(Protocol):
    """The schedules of an environment's releases."""

    def follow(self, digest: str | None) -> tuple[str, ...]:
        """Have the flows of the release `digest` run by their schedules, and no others; what was changed, in words.

        Can be repeated. Raises UnreachableError or MlopsError when the orchestrator cannot be told.
        """
        ...


@dataclass(frozen=True)
class PrefectSchedules:
    """Those that are deployments of one work pool of Prefect.

    Pausing one takes back the runs that were planned and not begun; what runs already is fenced by its database role.
    """

    api_url: str
    work_pool: str

    def follow(self, digest: str | None) -> tuple[str, ...]:
        """See Schedules. Nobody's turn comes before the one before it was paused."""
        live = f"{ASKED_TAG}{digest}"
        changed = [one for one in self._flows() if one["paused"] is (live in one["tags"])]
        changed.sort(key=lambda one: live in one["tags"])
        done = []
        for one in changed:
            word = "resume" if live in one["tags"] else "pause"
            call(self.api_url, "POST", f"deployments/{one['id']}/{word}_deployment", also=(404,))
            done.append(f"{word}d flow {one['name']}")
        return tuple(done)

    def _flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) % _PAGE == 0:
            query = {
                "work_pools": {"name": {"any_": [self.work_pool]}},
                "deployments": {"tags": {"all_": [FLOW_TAG]}},
                "sort": "NAME_ASC",
                "limit": _PAGE,
                "offset": len(found),
            }
            page: list[dict[str, Any]] = call(self.api_url, "POST", "deployments/filter", query)[1]
            found += page
            if not page:
                break
        return found
