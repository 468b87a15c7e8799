"""Flows of releases on a real Prefect server: made paused, run by schedule while their release is live."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_sdk.errors import NotFoundError, UnreachableError
from mlops_sdk.provider.flow import FlowHandler
from mlops_sdk.provider.handler import Environment
from mlops_sdk.provider.work_pool import job_template, put_pool
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.traffic.handover import change_schedules
from mlops_sdk.traffic.prefect_api import call
from mlops_sdk.traffic.schedules import PrefectSchedules

ROOT = Path(__file__).parents[2]
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HANDLER = FlowHandler()


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with nothing in it, but for two work pools."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/api"
    folder = tmp_path_factory.mktemp("prefect")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env={
                **os.environ,
                "PREFECT_HOME": str(folder),
                "PREFECT_API_URL": url,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
            },
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 240
        while not _answers(url):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.2)
        template = job_template({"python": "python", "envFolder": "env", "directory": "."})
        for pool in ("mlops", "another"):
            put_pool(url, pool, "process", template)
        yield url
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        return call(url, "GET", "health")[0] == 200
    except UnreachableError:
        return False


def inputs(api_url: str, digest: str, **changes: Any) -> dict[str, Any]:
    """A flow of the release with that digest."""
    return {
        "apiUrl": api_url,
        "pool": "mlops",
        "flow": "daily",
        "deployment": f"v-{digest[7]}",
        "entrypoint": "pipelines/rfm/flow.py:daily",
        "checkout": str(ROOT),
        "python": "/project/.venvs/1/bin/python",
        "layer": f"release-{digest[7:19]}",
        "release": f"v-{digest[7]}",
        "digest": digest,
        "parameters": {"days": 3, "job": "rfm"},
        "schedule": "30 6 * * *",
        "timezone": "Europe/Berlin",
    } | changes


def deployment(given: dict[str, Any]) -> dict[str, Any]:
    """As the server has it."""
    path = f"deployments/name/{given['flow']}/{given['deployment']}"
    found: dict[str, Any] = call(given["apiUrl"], "GET", path)[1]
    return found


@pytest.fixture
def env() -> Environment:
    return Environment("local")


def test_a_flow_is_made_paused_and_found_as_it_was_made(api_url: str, env: Environment) -> None:
    given = inputs(api_url, A, flow="first")
    HANDLER.apply(env, given, None)

    found = deployment(given)
    assert found["paused"] is True
    assert found["parameters"] == {"days": 3, "job": "rfm"}
    assert [one["schedule"]["cron"] for one in found["schedules"]] == ["30 6 * * *"]
    assert found["parameter_openapi_schema"]["properties"]["days"]["default"] == 3  # as the code has it
    assert HANDLER.read(env, given) == HANDLER.outputs(env, given)
    bare = inputs(api_url, A, flow="by-hand", schedule=None, timezone=None)
    HANDLER.apply(env, bare, None)
    assert HANDLER.read(env, bare) == HANDLER.outputs(env, bare)
    for one in (given, bare):
        HANDLER.delete(env, one)
        HANDLER.delete(env, one)
        assert HANDLER.read(env, one) is None


def test_a_person_starts_a_flow_with_parameters_by_prefect_s_own_command(
    api_url: str, env: Environment
) -> None:
    given = inputs(api_url, A, flow="backfill", entrypoint="pipelines/rfm/flow.py:backfill", parameters={})
    HANDLER.apply(env, given, None)
    started = subprocess.run(
        [
            *(sys.executable, "-m", "prefect", "deployment", "run", f"backfill/{given['deployment']}"),
            *("-p", "first=2026-01-01", "-p", "last=2026-01-31", "-p", "at_once=2"),
        ],
        env={**os.environ, "PREFECT_API_URL": api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    (run,) = call(api_url, "POST", "flow_runs/filter", {"flows": {"name": {"any_": ["backfill"]}}})[1]
    assert run["parameters"] == {"first": "2026-01-01", "last": "2026-01-31", "at_once": 2}
    HANDLER.delete(env, given)


def test_a_flow_whose_code_is_not_there_is_named(api_url: str, env: Environment, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no pipelines/rfm/flow.py(.|\n)*deploy the release again"):
        HANDLER.apply(env, inputs(api_url, A, checkout=str(tmp_path)), None)


def test_what_a_person_changed_is_found_and_set_right_and_its_state_stays(
    api_url: str, env: Environment
) -> None:
    given = inputs(api_url, A, flow="changed")
    HANDLER.apply(env, given, None)
    found = deployment(given)
    call(api_url, "PATCH", f"deployments/{found['id']}", {"parameters": {"days": 300}})
    call(api_url, "POST", f"deployments/{found['id']}/resume_deployment")
    assert HANDLER.read(env, given) != HANDLER.outputs(env, given)

    HANDLER.apply(env, given, given)

    assert HANDLER.read(env, given) == HANDLER.outputs(env, given)
    assert deployment(given)["paused"] is False
    HANDLER.delete(env, given)


def test_the_schedules_of_the_live_release_run_and_no_others(api_url: str, env: Environment) -> None:
    old, new = inputs(api_url, A), inputs(api_url, B)
    elsewhere = inputs(api_url, A, flow="elsewhere", pool="another")
    for one in (old, new, elsewhere):
        HANDLER.apply(env, one, None)
    schedules = PrefectSchedules(api_url, "mlops")

    assert schedules.follow(A) == ("resumed flow v-a",)
    assert schedules.follow(A) == ()
    assert (deployment(old)["paused"], deployment(new)["paused"]) == (False, True)
    assert schedules.follow(B) == ("paused flow v-a", "resumed flow v-b")
    assert (deployment(old)["paused"], deployment(new)["paused"]) == (True, False)
    assert schedules.follow(None) == ("paused flow v-b",)
    assert deployment(elsewhere)["paused"] is True
    for one in (old, new, elsewhere):
        HANDLER.delete(env, one)


def test_a_handover_does_not_fail_because_of_an_orchestrator_that_is_away() -> None:
    (port,) = free_ports(1)
    lines: list[str] = []
    change_schedules(PrefectSchedules(f"http://127.0.0.1:{port}/api", "mlops"), A, lines.append)
    assert lines == [
        "schedules did not change hands, the agent tries again: Prefect did not answer (ConnectionRefusedError)"
    ]
