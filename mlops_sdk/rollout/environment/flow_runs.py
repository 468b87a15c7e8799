"""Run a flow of a release in the environment's Prefect work pool and wait for its end.

Speaks Prefect's REST API directly: importing Prefect's client costs 1.4 s of every command and writes into the
user's home. No secret passes through here: the job finds its variables in the files that `job_variables` name.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import stamina

from mlops_sdk.errors import CancelledError, DeadlineError, MlopsError, UnreachableError

POLL_S = 0.2
BUSY_S = 30.0
LAST_LOG_LINES_S = 3.0  # a run hands its last lines over a little after its end
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_FLOW_LOGGER = "prefect.flow_runs"
_LAST_LINE = "Finished in state"
_PREFIX = "Flow run encountered an exception: "
# What Prefect says of its own work: a person who deploys waits for the flow's words.
_FRAME = (
    "Running ", "Executing deployment step", "Deployment step", "All deployment steps",
    "Beginning flow run", _LAST_LINE,
)  # fmt: skip


@dataclass(frozen=True)
class FlowJob:
    """A flow of a checkout as a deployment of a work pool.

    `entrypoint` is `path/to/file.py:function` in `checkout`; `job_variables` fill the pool's base job template. `tags`
    are those of the deployment and of its runs.
    """

    flow: str
    deployment: str
    checkout: Path
    entrypoint: str
    work_pool: str
    job_variables: Mapping[str, Any]
    tags: tuple[str, ...] = ()


class Prefect:
    """A client of one Prefect server. Use as a context manager."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._http = httpx.Client(base_url=api_url.rstrip("/") + "/", timeout=10.0)

    def __enter__(self) -> "Prefect":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def run(
        self, job: FlowJob, *, timeout_s: float, name: str = "", log: Callable[[str], None] | None = None
    ) -> None:
        """Register the job's deployment, run it once and wait; `log` gets each line the flow logs.

        Raises MlopsError with the run's own message when it fails, DeadlineError after `timeout_s` (the run is
        cancelled then), UnreachableError when the server does not answer.
        """
        run_id = self._start(self._register(job), name, job.tags)
        lines = _Lines(log)
        try:
            run = self._wait(run_id, timeout_s, lines)
        except (KeyboardInterrupt, DeadlineError):
            self._cancel(run_id)
            raise
        patience = time.monotonic() + LAST_LOG_LINES_S
        while log is not None and not lines.ended and time.monotonic() < patience:
            time.sleep(POLL_S)
            lines.take(self._logs(run_id, lines.seen))
        self._judge(run)

    def crash_unfinished_runs(self, reason: str, *, work_pool: str | None = None) -> list[str]:
        """Set every run (of one work pool) that is pending or running to crashed; return their names."""
        query: dict[str, Any] = {
            "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
        }
        if work_pool is not None:
            query["work_pools"] = {"name": {"any_": [work_pool]}}
        unfinished = self._call("POST", "flow_runs/filter", query)
        for run in unfinished:
            body = {"state": {"type": "CRASHED", "message": reason}, "force": True}
            self._call("POST", f"flow_runs/{run['id']}/set_state", body)
        return [str(run["name"]) for run in unfinished]

    def _wait(self, run_id: str, timeout_s: float, lines: "_Lines") -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            run: dict[str, Any] = self._call("GET", f"flow_runs/{run_id}")
            lines.take(self._logs(run_id, lines.seen))
            if run["state_type"] in _ENDED:
                return run
            if time.monotonic() > deadline:
                raise DeadlineError(f"flow run {run['name']} did not end within {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def _register(self, job: FlowJob) -> str:
        flow = self._call("POST", "flows/", {"name": job.flow})
        body = {
            "name": job.deployment,
            "flow_id": flow["id"],
            "entrypoint": job.entrypoint,
            "path": str(job.checkout),
            "work_pool_name": job.work_pool,
            "job_variables": dict(job.job_variables),
            "tags": list(job.tags),
            "pull_steps": [
                {"prefect.deployments.steps.set_working_directory": {"directory": str(job.checkout)}}
            ],
        }
        return str(self._call("POST", "deployments/", body)["id"])

    def _start(self, deployment_id: str, name: str, tags: Sequence[str]) -> str:
        # The key makes a request that is sent again, after an answer that was lost, the same run.
        body: dict[str, Any] = {
            "state": {"type": "SCHEDULED"},
            "idempotency_key": uuid4().hex,
            "tags": list(tags),
        }
        if name:
            body["name"] = name
        return str(self._call("POST", f"deployments/{deployment_id}/create_flow_run", body)["id"])

    def _logs(self, run_id: str, offset: int) -> list[dict[str, Any]]:
        query = {
            "logs": {"flow_run_id": {"any_": [run_id]}, "level": {"ge_": 20}},
            "sort": "TIMESTAMP_ASC",
            "offset": offset,
            "limit": 200,
        }
        lines: list[dict[str, Any]] = self._call("POST", "logs/filter", query)
        return lines

    def _judge(self, run: dict[str, Any]) -> None:
        state = run["state_type"]
        if state == "COMPLETED":
            return
        message = (run.get("state") or {}).get("message") or "no message"
        message = message.removeprefix(_PREFIX)  # then comes what the flow itself raised
        text = f"flow run {run['name']} ended {state.lower()}: {message}"
        if state == "CANCELLED":
            raise CancelledError(text)
        raise MlopsError(
            text,
            where=self._api_url,
            remedy="`mlops status ENV` shows Prefect's address; the run's log says more",
        )

    def _cancel(self, run_id: str) -> None:
        self._call("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}, "force": True})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            for attempt in stamina.retry_context(on=_is_busy, timeout=BUSY_S, attempts=None, wait_max=1.0):
                with attempt:
                    answer = self._http.request(method, path, json=body)
                    answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise MlopsError(
                f"Prefect refused {method} {path}: {error.response.text[:500]}", where=self._api_url
            ) from error
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"Prefect did not answer ({type(error).__name__})",
                where=self._api_url,
                remedy="`mlops up ENV` starts it",
            ) from error
        return answer.json() if answer.content else None


def _is_busy(error: Exception) -> bool:
    """Whether the server asks for patience: its SQLite is locked for a moment by another writer."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (429, 502, 503)


class _Lines:
    """Hands the flow's own log lines on, once each, and knows when the last one has come."""

    def __init__(self, log: Callable[[str], None] | None) -> None:
        self._log = log
        self.seen = 0
        self.ended = False

    def take(self, lines: list[dict[str, Any]]) -> None:
        self.seen += len(lines)
        for line in lines:
            if line["name"] != _FLOW_LOGGER:
                continue
            self.ended = self.ended or line["message"].startswith(_LAST_LINE)
            if self._log is not None and not line["message"].startswith(_FRAME):
                self._log(line["message"])
