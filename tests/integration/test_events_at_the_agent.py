"""The agent reacts to events: what it deploys and in whose name, and what is posted to its port."""

import subprocess
import threading
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.agent.react import react
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import silent
from mlops_sdk.rollout.events import react as reacting
from mlops_sdk.rollout.events.serve import ci_token
from mlops_sdk.stack.drive import Stack
from tests.support.agent import StackDouble, agent_process, answer_of
from tests.support.event_project import EventProject


def test_what_an_event_made_is_deployed_under_a_name_for_which_nobody_waits(
    event_project: EventProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, deployed = event_project, []
    with open_session(found.project, "local", silent) as opened:
        session = replace(opened, stack=cast(Stack, StackDouble(opened.stack.config)))
        work = Work(session, threading.Event())
        assert react(work) == Did("nothing is declared in [tool.mlops.events]")
        found.configure('[tool.mlops.events]\ndeploy = true\nmodels = {embedder = "*"}\n')
        found.register("embedder")

        def deploy(*arguments: Any, who: str, **_: Any) -> None:
            with pytest.raises(LeaseHeldError, match="agent-events on"), session.acquire_lease(who):
                session.acquire_lease()  # a person: refused at once
            deployed.append(arguments[2].stem)
            details = {"intent": "deploy", "release": deployed[-1]}
            session.ledger.record("intent", lease=None, details=details)

        monkeypatch.setattr(reacting, "deploy", deploy)
        assert "model embedder 2: stacks/releases/v0.0.2.yaml" in react(work).what
        assert react(work) == Did("nothing new")
    assert deployed == ["v0.0.2"]


def test_an_event_that_is_posted_to_the_agent_s_port_makes_a_release_once(
    event_project: EventProject,
) -> None:
    found = event_project
    found.configure("[tool.mlops.events]\ncommit = true\n")
    (found.root / "code.py").write_text("VERSION = 2\n")
    found.git("commit", "--quiet", "-am", "Other code")
    found.git("tag", "v1.1.0")
    with agent_process(found.root) as (process, port):
        address = f"http://127.0.0.1:{port}"
        answer_of(process, f"{address}/duties", '"did":"nothing new"')
        url, order = f"{address}/events/code-update", {"ref": "v1.1.0", "id": "run 7"}
        # Its receiver is asked under the name that a proxy has; the page is not.
        token = {"Authorization": f"Bearer {ci_token(found.project, 'local')}", "Host": "ci.example"}
        assert httpx.post(url, json=order).status_code == 401
        assert httpx.post(url, json=order, headers={**token, "Authorization": "Bearer x"}).status_code == 401
        assert httpx.get(f"{address}/duties", headers={"Host": "ci.example"}).status_code == 400
        assert found.tags() == ["v0.0.1"]
        made = httpx.post(url, json=order, headers=token, timeout=60)
        again = httpx.post(url, json=order, headers=token, timeout=60)
        assert (made.status_code, made.json()["made"][0]["release"]) == (201, "v0.0.2")
        assert (again.status_code, again.json()["made"]) == (200, [])
        while _runs(process, address, "events") < 2:  # long before its minute is over: it was woken
            pass
    assert found.tags() == ["v0.0.1", "v0.0.2"]
    assert len(found.events()) == 1


def _runs(process: subprocess.Popen[str], address: str, duty: str) -> int:
    duties = answer_of(process, f"{address}/duties", duty)
    return next(int(one["runs"]) for one in duties if one["name"] == duty)
