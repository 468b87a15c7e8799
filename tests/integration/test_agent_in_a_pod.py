"""The agent's duties in a pod, which has neither an engine nor a stack config: what they do, and what they leave."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.platform.inside import Inside
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.agent.collect import collect
from mlops_sdk.rollout.agent.duty import Work
from mlops_sdk.rollout.agent.observe import Observe
from mlops_sdk.rollout.agent.turn_back import TurnBack
from mlops_sdk.state import references
from mlops_sdk.traffic.shift import shift
from tests.support.agent_at_work import Agent, run


class Pod(Inside):
    """The agent's pod of an environment on a cluster: these ConfigMaps stand in its namespace."""

    def __init__(self, configmaps: list[str]) -> None:
        self.api = cast(ApiServer, self)
        self.configmaps = configmaps

    def list(self, kind: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        assert labels
        return [{"metadata": {"name": name}} for name in self.configmaps if kind == "configmaps"]

    def open_services(self, services: Mapping[str, int]) -> None:
        """A double of `PageProject` answers for services."""


def in_a_pod(agent: Agent, *configmaps: str) -> Agent:
    """The same agent in a pod, where there is neither an engine nor a stack config."""
    (agent.made.root / "stacks" / "Pulumi.local.yaml").unlink()
    session = replace(agent.session, reach=Pod(list(configmaps)), stack=None)  # type: ignore[arg-type]
    return replace(agent, work=Work(session, threading.Event()))


def test_in_a_pod_what_was_cut_off_gets_no_traffic_and_the_rest_is_said_to_need_a_machine(
    agent: Agent,
) -> None:
    agent.begin_deploy("v0.0.2")
    conninfo, digest = agent.made.environment.conninfo(), agent.made.releases.locks["v0.0.2"].digest
    traffic = agent.made.traffic
    shift(conninfo=conninfo, environment="local", target=digest, weight=64, traffic=traffic, lease=None)
    pod = in_a_pod(agent)
    for _ in range(2):
        did = TurnBack(patience_s=0)(pod.work)
        assert "what is live has all traffic" in did.what
        assert (
            "there is no Pulumi in this pod: `mlops agent run turn-back local` on a machine"
            in did.problems[0]
        )
        assert traffic.read().leads_only_to(agent.made.releases.bind("v0.0.1").service_port)
    epoch = pod.lease_epoch()
    TurnBack(patience_s=0)(pod.work)
    assert pod.lease_epoch() == epoch  # who goes on with it finds nobody in the way
    assert pod.session.ledger.statuses()[digest] in ("bound", "cut")


def test_in_a_pod_a_deploy_that_introduced_nothing_gets_its_end(agent: Agent) -> None:
    lock = agent.made.releases.locks["v0.0.2"]
    details = {"intent": "deploy", "release": "v0.0.2", "digest": lock.digest}
    agent.session.ledger.record("intent", lease=None, details=details)
    pod = in_a_pod(agent)
    assert "had introduced nothing" in run(TurnBack(patience_s=0), pod)
    assert pod.kinds()[0] == "failed"


def test_in_a_pod_gc_waits_until_a_release_has_left_the_namespace(agent: Agent) -> None:
    agent.made.deploy("v0.0.2")
    agent.session.ledger.record("done", lease=None, digest=agent.made.releases.locks["v0.0.2"].digest)
    digest = agent.made.releases.locks["v0.0.1"].digest
    references.unreference(agent.made.environment.conninfo(), "local", digest, lease=None)
    agent.session.render_config()
    pod = in_a_pod(agent, f"release-{short(digest)}")
    assert "still stand in the namespace" in run(collect, pod)
    cast(Pod, pod.session.reach).configmaps.clear()
    assert "dropped release v0.0.1" in run(collect, pod)
    newest = pod.session.ledger.head()
    assert newest is not None and newest.kind == "retired"
    assert newest.cause == _cause_of_live(pod)


def test_in_a_pod_there_is_no_stack_config_to_differ(agent: Agent) -> None:
    before = Observe(at_once=True)(agent.work)
    pod = in_a_pod(agent)
    assert "stack config" not in Observe(at_once=True)(pod.work).what
    assert "stack config" not in before.what


def _cause_of_live(agent: Agent) -> str:
    return next(entry.cause for entry in agent.session.ledger.entries() if entry.kind == "live")
