"""The agent's duties against a real ledger, and its process: what they do, and what they leave to a person."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest

from mlops_sdk.errors import LeaseHeldError, MlopsError, NotFoundError, PolicyError
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.platform.program import Program
from mlops_sdk.platform.programs import service_name
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.agent.catch_up import catch_up
from mlops_sdk.rollout.agent.collect import collect
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.agent.lead_router import lead_router
from mlops_sdk.rollout.agent.observe import Observe
from mlops_sdk.rollout.agent.predictions import keep_days
from mlops_sdk.rollout.agent.serve import agent_port, known_states, run_once
from mlops_sdk.rollout.agent.turn_back import TurnBack
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import silent
from mlops_sdk.rollout.environment.session import AGENT, Session
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.stack.events import Change
from mlops_sdk.state import janitor, references
from mlops_sdk.traffic.shift import shift
from tests.support.agent import agent_command, agent_process, answer_of
from tests.support.agent_at_work import Agent, run
from tests.support.page import PageProject
from tests.support.releases import MemoryTraffic

ROOT = Path(__file__).parents[2]
DUTIES = [
    "catch-up",
    "route",
    "schedules",
    "turn-back",
    "events",
    "observe",
    "re-verify",
    "gc",
    "predictions",
]


def test_catching_up_carries_rows_and_says_that_a_backlog_waits(agent: Agent) -> None:
    agent.made.deploy("v0.0.2")
    with agent.made.releases.connect("v0.0.2") as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1, 30)")
    did = catch_up(agent.work)
    while did.more:
        did = catch_up(agent.work)
    assert did == Did("2 releases up to date")
    schema = agent.made.releases.bind("v0.0.1").pg_schema
    with psycopg.connect(agent.made.environment.admin.get_secret_value()) as conn:
        count = conn.execute(f"SELECT count(*) FROM {schema}.users").fetchone()
    assert count == (30,)


def test_a_deploy_that_was_cut_off_is_turned_back_and_its_tables_stay(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    assert run(TurnBack(patience_s=0), agent).startswith("turned back v0.0.2")
    digest = agent.made.releases.locks["v0.0.2"].digest
    assert agent.session.ledger.statuses()[digest] == "unreferenced"
    assert agent.stack.ups == [["v0.0.1"]]
    newest = agent.session.ledger.head()
    assert newest is not None and (newest.kind, newest.actor, newest.digest) == (
        "turned_back",
        "agent",
        digest,
    )
    assert (agent.session.folder / "evidence" / newest.details["evidence"] / "routes.json").exists()
    assert run(TurnBack(patience_s=0), agent) == "nothing is abandoned"


def test_a_service_that_a_killed_engine_had_begun_is_ended_though_no_state_knows_it(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    digest = agent.made.releases.locks["v0.0.2"].digest
    supervisor = Supervisor(agent.session.folder)
    supervisor.apply(Program(service_name(digest), ("sleep", "600"), agent.session.folder))
    variables = agent.session.folder / "env" / f"release-{short(digest)}.env"
    variables.write_text("")
    try:
        assert run(TurnBack(patience_s=0), agent).startswith("turned back v0.0.2")
        assert supervisor.statuses() == {} and not variables.exists()
    finally:
        supervisor.shutdown(timeout_s=20)


def test_whoever_stopped_a_deploy_by_the_keyboard_has_time_to_go_on(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    duty = TurnBack(patience_s=3600)
    assert "waits 3600 s for whoever began to deploy v0.0.2" in run(duty, agent)
    assert "waits" in run(duty, agent)
    assert agent.kinds()[0] != "turned_back"


def test_traffic_that_was_being_shifted_goes_back_first(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    conninfo, digest = agent.made.environment.conninfo(), agent.made.releases.locks["v0.0.2"].digest
    traffic = agent.made.traffic
    shift(conninfo=conninfo, environment="local", target=digest, weight=64, traffic=traffic, lease=None)
    assert traffic.read().next_share == 64
    agent.stack.error = MlopsError("pulumi up failed")
    with pytest.raises(MlopsError, match="pulumi up failed"):
        TurnBack(patience_s=0)(agent.work)
    assert traffic.read().leads_only_to(agent.made.releases.bind("v0.0.1").service_port)
    agent.stack.error = None
    assert run(TurnBack(patience_s=0), agent).startswith("turned back v0.0.2")


def test_a_shift_whose_command_was_killed_before_it_told_the_router_is_told_to_it(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    conninfo, digest = agent.made.environment.conninfo(), agent.made.releases.locks["v0.0.2"].digest
    dead = MemoryTraffic()  # what a command that was killed has told nobody
    shift(conninfo=conninfo, environment="local", target=digest, weight=64, traffic=dead, lease=None)
    traffic = agent.made.traffic
    assert traffic.read().next_share == 0
    assert run(lead_router, agent) == "led the router to what is live"
    routes = traffic.read()
    assert (routes.next_port, routes.next_share) == (agent.made.releases.bind("v0.0.2").service_port, 64)
    assert routes.keyless_share == 0  # it has forked tables: who names no bucket stays with the live one
    assert run(lead_router, agent) == "the router leads to what is live"


def test_while_somebody_deploys_nothing_is_turned_back_and_nothing_dropped(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    holder = Holder.this_process("ann")
    with Lease.acquire(agent.made.environment.conninfo(), "local", holder):
        assert "ann" in run(TurnBack(patience_s=0), agent)
        assert "has not come to its end" in run(collect, agent)
    assert agent.kinds()[0] != "turned_back"


def test_a_person_waits_for_the_agent_and_is_not_refused(agent: Agent) -> None:
    conninfo = agent.made.environment.conninfo()
    told = threading.Event()
    session = replace(agent.session, report=lambda _: told.set())
    held = Lease.acquire(conninfo, "local", Holder.this_process(AGENT))

    def give_back() -> None:
        told.wait(20)
        held.release()

    thread = threading.Thread(target=give_back)
    thread.start()
    with session.acquire_lease() as lease:
        assert told.is_set() and lease.holder.who != AGENT
        with pytest.raises(LeaseHeldError):
            session.acquire_lease(who=AGENT)
    thread.join()


def test_a_lease_that_ran_out_is_patience_enough(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    lease = Lease.acquire(agent.made.environment.conninfo(), "local", Holder.this_process("ann"))
    lease._stop.set()  # it is not renewed any more, as after a kill
    with psycopg.connect(agent.made.environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("UPDATE mlops.lease SET until = clock_timestamp() - interval '1 second'")
    assert run(TurnBack(patience_s=3600), agent).startswith("turned back v0.0.2")
    lease._conn.close()


def test_a_rollback_and_a_live_release_are_left_to_a_person(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2", intent="rollback")
    did = TurnBack(patience_s=0)(agent.work)
    assert "mlops rollback local --to v0.0.2" in did.problems[0]
    agent.session.ledger.record("failed", lease=None, digest=None)
    agent.begin_deploy("v0.0.1")
    did = TurnBack(patience_s=0)(agent.work)
    assert "`mlops deploy stacks/releases/v0.0.1.yaml -e local` goes on with it" in did.problems[0]
    assert "turned_back" not in agent.kinds()


def test_a_release_that_was_kept_before_stays_kept(agent: Agent) -> None:
    agent.made.deploy("v0.0.2")
    agent.session.ledger.record("done", lease=None, digest=agent.made.releases.locks["v0.0.2"].digest)
    agent.session.render_config()
    agent.begin_deploy("v0.0.1")
    assert "had introduced nothing" in run(TurnBack(patience_s=0), agent)
    digest = agent.made.releases.locks["v0.0.1"].digest
    assert agent.session.ledger.statuses()[digest] == "cut"
    assert (agent.kinds()[0], agent.stack.ups) == ("failed", [])


def test_a_deploy_that_bound_nothing_yet_only_gets_its_end(agent: Agent) -> None:
    lock = agent.made.releases.locks["v0.0.2"]
    details = {"intent": "deploy", "release": "v0.0.2", "digest": lock.digest}
    agent.session.ledger.record("intent", lease=None, details=details)
    assert "had introduced nothing" in run(TurnBack(patience_s=0), agent)
    assert agent.kinds()[0] == "failed"


def test_what_would_change_the_platform_is_left_to_a_person(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    agent.stack.changes.append(
        Change("update", "mlops:index:Process", "postgres", "urn:pulumi:local::x::y::postgres")
    )
    with pytest.raises(PolicyError, match="would also change the platform"):
        TurnBack(patience_s=0)(agent.work)
    assert agent.stack.ups == []
    agent.stack.changes.clear()
    assert run(TurnBack(patience_s=0), agent).startswith("turned back")  # it goes on where it stopped


def test_an_engine_that_fails_leaves_it_to_the_next_time(agent: Agent) -> None:
    agent.begin_deploy("v0.0.2")
    agent.stack.error = MlopsError("pulumi up failed")
    with pytest.raises(MlopsError, match="pulumi up failed"):
        TurnBack(patience_s=0)(agent.work)
    agent.stack.error = None
    assert run(TurnBack(patience_s=0), agent).startswith("turned back")


def test_somebody_who_goes_on_meanwhile_is_not_raced(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.begin_deploy("v0.0.2")
    acquire = Session.acquire_lease

    def ended_meanwhile(session: Session, who: str | None = None) -> Lease:
        session.ledger.record("done", lease=None, digest=agent.made.releases.locks["v0.0.2"].digest)
        return acquire(session, who)

    monkeypatch.setattr(Session, "acquire_lease", ended_meanwhile)
    assert "went on meanwhile" in run(TurnBack(patience_s=0), agent)
    assert agent.kinds()[0] == "done"


def test_gc_drops_what_nothing_needs_and_takes_no_lease_for_it(agent: Agent) -> None:
    agent.made.deploy("v0.0.2")
    agent.session.ledger.record("done", lease=None, digest=agent.made.releases.locks["v0.0.2"].digest)
    digest = agent.made.releases.locks["v0.0.1"].digest
    agent.session.render_config()
    assert run(collect, agent) == "nothing to drop"
    references.unreference(agent.made.environment.conninfo(), "local", digest, lease=None)
    assert "stack config still names releases" in run(collect, agent)  # its service may still run
    agent.session.render_config()
    epoch = agent.lease_epoch()
    assert "dropped release v0.0.1" in run(collect, agent)
    assert agent.session.ledger.statuses()[digest] == "retired"
    newest = agent.session.ledger.head()
    assert newest is not None and (newest.kind, newest.actor) == ("retired", "agent")
    assert agent.lease_epoch() == epoch


def test_each_drop_gives_way_to_a_deployer_that_comes_meanwhile(agent: Agent) -> None:
    agent.made.deploy("v0.0.2")
    digest = agent.made.releases.locks["v0.0.1"].digest
    conninfo = agent.made.environment.conninfo()
    references.unreference(conninfo, "local", digest, lease=None)
    agent.session.render_config()
    with Lease.acquire(conninfo, "local", Holder.this_process("ann")):
        with pytest.raises(LeaseHeldError):
            janitor.collect(conninfo, "local", lease=None, gives_way=True)
        assert "gave way: ann" in run(collect, agent)
    assert agent.session.ledger.statuses()[digest] == "unreferenced"


def test_a_duty_is_also_a_command_for_an_environment_that_is_up(page_project: PageProject) -> None:
    did = run_once(page_project.project, "local", "catch-up")
    assert did.what == "no release has forked tables"
    with pytest.raises(NotFoundError, match="no duty 'catchup'"):
        run_once(page_project.project, "local", "catchup")
    with pytest.raises(NotFoundError, match="never brought up"):
        run_once(page_project.project, "staging", "gc")


def test_a_stack_config_of_an_earlier_version_is_told_how_to_get_a_port(page_project: PageProject) -> None:
    file = ConfigFile(page_project.root / "stacks", "local")
    file.write({"config": {"mlops-sdk:kind": "local", "mlops-sdk:ports": {"postgres": 1}}})
    with pytest.raises(PolicyError, match="no port for the agent"):
        agent_port(page_project.project, "local")
    assert [state["runs"] for state in known_states(page_project.project, "local")] == [0] * len(DUTIES)
    file.create_missing()
    assert 20_000 <= agent_port(page_project.project, "local") < 32_000


def test_what_differs_is_recorded_when_it_was_seen_twice_or_a_person_asks(page_project: PageProject) -> None:
    def observed() -> list[str]:
        return [
            entry.actor for entry in page_project.environment.ledger.entries() if entry.kind == "observed"
        ]

    with open_session(page_project.project, "local", silent) as session:
        work, duty = Work(session, threading.Event()), Observe()
        assert duty(work) == Did("all is as the ledger says")
        page_project.down.add("mlflow")
        assert duty(work) == Did("1 difference stands: processes: process mlflow does not run")
        assert observed() == []
        assert "(entry #" in duty(work).what
        assert "(entry #" not in duty(work).what
    assert observed() == ["agent"]
    page_project.down.clear()
    assert "(entry #" in run_once(page_project.project, "local", "observe").what
    assert observed() == ["agent", "agent"]


def test_each_day_of_the_prediction_log_has_a_table_until_it_is_too_old(agent: Agent) -> None:
    assert keep_days(agent.work) == Did("the days have tables; predictions are kept for ever")
    project = replace(agent.work.session.project, prediction_log_days=30)
    session = replace(agent.work.session, project=project)
    work = Work(session, threading.Event())
    assert keep_days(work) == Did("the days have tables; no day is too old")
    with psycopg.connect(agent.made.environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE mlops.prediction_log_20200101 PARTITION OF mlops.prediction_log"
            " FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-01-02 00:00+00')"
        )
        conn.execute("ALTER TABLE mlops.prediction_log_20200101 OWNER TO ledger_owner")
    assert keep_days(work) == Did("the days have tables; dropped prediction_log_20200101")


def test_the_process_serves_the_page_does_its_duties_and_ends_with_a_signal(
    page_project: PageProject,
) -> None:
    with agent_process(page_project.root) as (process, port):
        duties = answer_of(process, f"http://127.0.0.1:{port}/duties", "no release has forked tables")
        assert [duty["name"] for duty in duties] == DUTIES
        assert "Nothing is live" in httpx.get(f"http://127.0.0.1:{port}/").text
        second = subprocess.run(
            agent_command(port),
            cwd=page_project.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert second.returncode == 1
        assert f"port {port} is taken" in second.stderr


def test_a_signal_that_comes_before_the_page_is_served_ends_it_too(page_project: PageProject) -> None:
    program = """
import os, signal
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.agent.duty import Did, Duty
from mlops_sdk.rollout.agent.serve import serve

def end(work):
    os.kill(os.getpid(), signal.SIGTERM)  # as soon as duties run, which is before the server listens
    return Did("signalled")

serve(load_project(), "local", port=free_ports(1)[0], duties=[Duty("end", "ends it", 3600.0, end)])
print("ended in order")
"""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=page_project.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "ended in order\n"), ended.stderr
