"""What the page shows, made of what was seen: no server is asked here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.ledger.entries import Entry, Hold, Pointer
from mlops_sdk.ledger.lease import Held, Holder
from mlops_sdk.platform.supervisor import ProgramStatus
from mlops_sdk.release.binding import Binding
from mlops_sdk.rollout.agent.duty import DutyState
from mlops_sdk.rollout.agent.page.checks import Check
from mlops_sdk.rollout.agent.page.look import Problem, Recorded, Seen
from mlops_sdk.rollout.agent.page.release import Step
from mlops_sdk.rollout.agent.page.remembered import Remembered
from mlops_sdk.rollout.agent.page.timeline import timeline
from mlops_sdk.rollout.agent.page.view import EnvironmentView, environment_view
from mlops_sdk.rollout.agent.page.words import ago, size, spell
from mlops_sdk.rollout.observed.drift import ConfigSeen, Intended, IntendedRelease, ServiceSeen
from mlops_sdk.rollout.observed.drift import Seen as Observed
from mlops_sdk.rollout.observed.readiness import Readiness, Reason
from mlops_sdk.traffic.port import Routes
from tests.support.locks import make_lock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOCKS = {tag: make_lock(tag) for tag in ("v0.0.1", "v0.0.2", "v0.0.3")}
DIGEST = {tag: lock.digest for tag, lock in LOCKS.items()}
PORT = {"v0.0.1": 4001, "v0.0.2": 4002, "v0.0.3": 4003}


def a_binding(tag: str, seq: int) -> Binding:
    schema = f"rel_app_{seq:06d}_{DIGEST[tag][7:15]}"
    return Binding(
        environment="local",
        digest=DIGEST[tag],
        release=tag,
        seq=seq,
        pg_schema=schema,
        role=schema,
        service_port=PORT[tag],
    )


def an_entry(n: int, kind: str, tag: str = "", *, left: str = "", **fields: Any) -> Entry:
    details: dict[str, Any] = {"rollback_of": DIGEST[left]} if left else {}
    at = NOW - timedelta(hours=10 - n)
    return Entry(
        "local", n, None, at, kind, DIGEST.get(tag), None, "ann", "because", "", {**details, **fields}
    )


BINDINGS = tuple(a_binding(tag, seq) for seq, tag in enumerate(LOCKS, 1))
ENTRIES = (
    an_entry(5, "live", "v0.0.2", left="v0.0.3"),
    an_entry(4, "live", "v0.0.3"),
    an_entry(3, "live", "v0.0.2"),
    an_entry(2, "verified", "v0.0.2"),
    an_entry(1, "live", "v0.0.1"),
)


INTENDED = Intended(
    environment="local",
    live=DIGEST["v0.0.2"],
    releases=tuple(IntendedRelease(DIGEST[tag], tag, PORT[tag]) for tag in LOCKS),
    tags={digest: tag for tag, digest in DIGEST.items()},
)
OBSERVED = Observed(
    services={digest: ServiceSeen(digest, ready=True) for digest in DIGEST.values()},
    processes={"postgres": True},
    routes=Routes(PORT["v0.0.2"], None, 0, 0),
    config=ConfigSeen(DIGEST["v0.0.2"], frozenset(DIGEST.values()), ""),
)


def recorded(**changes: Any) -> Recorded:
    """v0.0.2 is live by a rollback from v0.0.3; everything answers."""
    values: dict[str, Any] = {
        "pointer": Pointer(DIGEST["v0.0.2"], 3, 5),
        "live": ENTRIES[0],
        "hold": None,
        "held": None,
        "bindings": BINDINGS,
        "locks": {lock.digest: lock for lock in LOCKS.values()},
        "entries": ENTRIES,
        "back_to": DIGEST["v0.0.1"],
        "intended": INTENDED,
        "observed": OBSERVED,
        "readiness": {DIGEST[tag]: Readiness(tag, DIGEST[tag], (), ()) for tag in ("v0.0.1", "v0.0.3")},
        "blocked": {},
        "paused": None,
        "sizes": {},
        **changes,
    }
    return Recorded(**values)


def observing(**changes: Any) -> Recorded:
    """What is recorded, with something else observed."""
    return recorded(observed=replace(OBSERVED, **changes))


def seen(found: Recorded | None = None, **changes: Any) -> Seen:
    values: dict[str, Any] = {
        "environment": "local",
        "at": NOW,
        "addresses": {
            "router": "http://127.0.0.1:1",
            "page": "http://127.0.0.1:2",
            "postgres": "127.0.0.1:3/app",
        },
        "processes": (ProgramStatus("postgres", "RUNNING", 1, 1.0, ""),),
        "routes": Routes(PORT["v0.0.2"], None, 0, 0),
        "recorded": found or recorded(),
        **changes,
    }
    return Seen(**values)


def what(view: EnvironmentView) -> list[str]:
    return [problem.what for problem in view.problems]


def checks(view: EnvironmentView) -> Mapping[str, Check]:
    return {check.name: check for check in view.checks}


def test_what_is_live_since_when_and_how_to_go_back() -> None:
    view = environment_view(seen())
    assert (view.title, view.tone, view.word, view.problems) == ("v0.0.2", "ok", "healthy", ())
    assert view.since is not None and view.since.ago == "5 h ago" and view.is_rollback
    assert view.back is not None
    assert view.back.command == 'mlops rollback local --to v0.0.1 -m "why"'
    assert [step.tone for step in view.back.steps] == ["ok"]
    assert view.links == (("router", "http://127.0.0.1:1"),)  # neither itself nor what no browser opens


def test_a_way_back_that_is_not_ready_says_what_is_missing() -> None:
    reason = Reason("forked table users is not there", "`mlops deploy X` makes it again")
    readiness = Readiness("v0.0.1", DIGEST["v0.0.1"], (reason,), ("its service is started",))
    view = environment_view(seen(recorded(readiness={DIGEST["v0.0.1"]: readiness})))
    assert view.back is not None
    assert view.back.steps == (
        Step("bad", "missing: forked table users is not there", "`mlops deploy X` makes it again"),
        Step("warn", "first: its service is started"),
    )
    assert [(row.release, row.back) for row in view.kept] == [
        ("v0.0.3", ""),
        ("v0.0.2", ""),
        ("v0.0.1", "no"),
    ]


def test_without_a_verified_release_to_go_back_to_those_that_are_ready_are_named() -> None:
    blocked = Readiness("v0.0.3", DIGEST["v0.0.3"], (Reason("it is blocked: too slow", ""),), ())
    found = recorded(back_to=None)
    back = environment_view(seen(replace(found, readiness={**found.readiness, blocked.digest: blocked}))).back
    assert back is not None and back.command == ""
    assert "--to v0.0.1" in back.why_not and "v0.0.3" not in back.why_not


def test_a_live_service_that_does_not_answer_is_the_worst() -> None:
    view = environment_view(seen(observing(services={})))
    assert (view.tone, view.word) == ("bad", "does not answer")
    assert "services: the service of v0.0.2 does not answer (port 4002)" in what(view)
    assert "mlops up local" in view.problems[0].remedy
    assert {row.service for row in view.kept} == {"down"}


def test_a_release_without_a_service_is_well_without_one() -> None:
    bare = replace(INTENDED, releases=tuple(replace(one, port=None) for one in INTENDED.releases))
    found = recorded(intended=bare, observed=replace(OBSERVED, services={}))
    view = environment_view(seen(found))
    assert (view.word, {row.service for row in view.kept}) == ("healthy", {"none"})


def test_while_postgres_is_away_the_rest_is_shown_with_the_problem() -> None:
    away = Seen("local", NOW, problems=(Problem("no answer", "start it"),), addresses={"router": "http://r"})
    view = environment_view(away)
    assert (view.title, view.tone, view.word) == ("Not known", "bad", "not known")
    assert view.problems == (Problem("no answer", "start it"),)
    assert (view.back, view.release, view.timeline, view.links) == (None, None, (), (("router", "http://r"),))
    assert view.card().note == "no answer"


def test_an_environment_that_is_not_here_is_no_failure() -> None:
    view = environment_view(Seen("prd", NOW, is_up=False, problems=(Problem("never", "run `mlops up prd`"),)))
    assert (view.title, view.tone) == ("Nothing is live", "none")
    assert view.card().note == "run `mlops up prd`"


def test_before_the_first_release_nothing_is_live() -> None:
    found = recorded(
        pointer=Pointer(None, 0, None),
        live=None,
        entries=(),
        bindings=(),
        back_to=None,
        intended=Intended("local", None, ()),
        observed=Observed({}, {"postgres": True}, Routes(None, None, 0, 0), None),
    )
    view = environment_view(seen(found, routes=Routes(None, None, 0, 0)))
    assert (view.title, view.tone, view.back, view.problems) == ("Nothing is live", "none", None, ())


def test_traffic_of_a_shift_is_shown_by_slot_and_is_no_drift() -> None:
    routes = Routes(PORT["v0.0.2"], PORT["v0.0.3"], 64, 0)
    shifting = replace(INTENDED, following=DIGEST["v0.0.3"], share=64)
    found = recorded(intended=shifting, observed=replace(OBSERVED, routes=routes))
    view = environment_view(seen(found, routes=routes))
    assert [(s.slot, s.release, s.percent) for s in view.slots] == [
        ("current", "v0.0.2", 75.0),
        ("next", "v0.0.3", 25.0),
    ]
    assert checks(view)["router"].ok
    assert [row.slot for row in view.kept] == ["next", "current", "kept"]


@pytest.mark.parametrize(
    "routes", [Routes(4003, None, 0, 0), Routes(None, None, 0, 0), Routes(9, 4002, 128, 0)]
)
def test_a_router_that_leads_elsewhere_is_drift(routes: Routes) -> None:
    view = environment_view(seen(observing(routes=routes)))
    assert not checks(view)["router"].ok
    assert view.word == "needs attention"


def test_processes_that_are_down_are_named() -> None:
    view = environment_view(seen(observing(processes={"mlflow": False, "router": True})))
    assert what(view) == ["processes: process mlflow does not run (mlflow)"]


def test_each_part_of_the_drift_is_one_line_while_it_agrees() -> None:
    view = environment_view(seen())
    assert [check.name for check in view.checks if check.ok] == [
        "stack config",
        "router",
        "services",
        "processes",
        "flow runs",
        "last command",
        "verification",
    ]


def test_what_differs_while_somebody_deploys_is_shown_and_is_nothing_to_mend() -> None:
    holder = Holder("bob", "host", 7, NOW)
    held = Held("local", 1, holder, NOW, NOW, in_force=True, backend_pid=None, backend_start=None)
    found = replace(observing(config=None), held=held)
    view = environment_view(seen(found))
    assert not checks(view)["stack config"].ok and view.problems == ()
    assert environment_view(seen(replace(found, held=None))).problems != ()


def test_blocks_and_a_pause_are_shown_beside_the_releases_and_for_the_live_one() -> None:
    blocked = {DIGEST["v0.0.2"]: "prices are wrong", DIGEST["v0.0.3"]: "too slow"}
    view = environment_view(seen(recorded(blocked=blocked, paused="v0.0.2")))
    assert {row.release: row.note for row in view.kept} == {
        "v0.0.3": "blocked: too slow",
        "v0.0.2": "blocked: prices are wrong, paused",
        "v0.0.1": "",
    }
    assert (view.blocked, view.paused, view.card().note) == ("prices are wrong", True, "blocked, paused")


def test_a_command_that_was_cut_off_is_a_problem_unless_it_is_under_way() -> None:
    intent = an_entry(6, "intent", intent="rollback", release="v0.0.1", digest=DIGEST["v0.0.1"])
    found = recorded(entries=(intent, *ENTRIES))
    view = environment_view(seen(found))
    assert "rollback of v0.0.1 (entry #6) was cut off" in what(view)[0]
    assert 'mlops rollback local --to v0.0.1 -m "..."' in view.problems[0].remedy
    holder = Holder("bob", "host", 7, NOW)
    held = Held("local", 1, holder, NOW, NOW, in_force=True, backend_pid=None, backend_start=None)
    view = environment_view(seen(replace(found, held=held)))
    assert view.problems == ()
    assert view.held.startswith("bob on host (pid 7) deploys since")
    assert environment_view(seen(replace(found, held=replace(held, in_force=False)))).held == ""


def test_a_release_that_fails_a_later_verification_needs_attention() -> None:
    withdrawn = an_entry(6, "withdrawn", "v0.0.2")
    view = environment_view(seen(recorded(entries=(withdrawn, *ENTRIES))))
    assert what(view) == ["verification: because"]
    assert view.timeline[0].kind == "bad"


def test_a_hold_is_shown_with_who_set_it() -> None:
    view = environment_view(seen(recorded(hold=Hold("we look", "ann", NOW, 6))))
    assert view.hold == "we look (ann)" and view.card().note == "on hold"


def test_a_duty_that_fails_again_and_again_is_a_problem_once_is_not() -> None:
    state = DutyState("gc", "drops", 1, failures=1, error="gone")
    assert environment_view(seen(), [state]).problems == ()
    assert what(environment_view(seen(), [replace(state, failures=2)])) == ["duty gc fails: gone"]
    complains = DutyState("catch-up", "carries", 1, problems=("users cannot hold a row",))
    assert what(environment_view(seen(), [complains])) == ["duty catch-up: users cannot hold a row"]


def test_a_timeline_marks_rollbacks_and_says_how_long_each_was_live() -> None:
    events = timeline(recorded(), NOW)
    assert [(e.n, e.kind, e.release, e.lasted, e.now) for e in events] == [
        (5, "rollback", "v0.0.2", "", True),
        (4, "live", "v0.0.3", "1 h", False),
        (3, "live", "v0.0.2", "1 h", False),
        (1, "live", "v0.0.1", "2 h", False),
    ]
    assert events[0].words == "rolled back from v0.0.3"


def test_an_observation_says_what_differed() -> None:
    differs = {"part": "router", "what": "it leads to port 9", "where": "router", "remedy": ""}
    entries = (an_entry(7, "observed", differences=[]), an_entry(6, "observed", differences=[differs]))
    events = timeline(recorded(entries=entries), NOW)
    assert [(e.words, e.reason) for e in events] == [
        ("seen to agree with the ledger again", ""),
        ("seen to differ from the ledger", "router: it leads to port 9"),
    ]


def test_an_event_says_what_became_of_it() -> None:
    entries = (
        an_entry(7, "event", event="pause", release="v0.0.2", made=False),
        an_entry(6, "event", event="model-update", release="v0.0.2", made=False),
        an_entry(5, "event", event="model-update", release="v0.0.2", made=True),
    )
    words = [f"{e.release} {e.words}" for e in timeline(recorded(entries=entries), NOW)]
    assert words == ["v0.0.2 paused", "v0.0.2 had what an event told of", "v0.0.2 made by an event"]


def test_a_long_history_shows_its_newest_events() -> None:
    entries = tuple(an_entry(n, "note") for n in range(400, 0, -1))
    events = timeline(recorded(entries=entries), NOW)
    assert events[0].n == 400 and len(events) < 100


@given(seconds=st.integers(0, 10**9))
def test_a_duration_is_spelled_in_one_unit(seconds: int) -> None:
    number, unit = spell(timedelta(seconds=seconds)).split()
    factor = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert 0 <= seconds - int(number) * factor < factor
    assert ago(timedelta(seconds=seconds)).endswith(("ago", "now"))


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (8_192, "8.2 kB"),
        (123_456_789, "123 MB"),
        (5e12, "5.0 TB"),
    ],
)
def test_sizes_have_up_to_three_digits(count: int, words: str) -> None:
    assert size(int(count)) == words


def test_what_costs_much_is_asked_again_after_an_entry_or_when_it_is_old() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(len(asked))
        return asked[-1]

    kept, old = Remembered[int](3600), Remembered[int](0)
    assert [kept.get("local", 7, ask), kept.get("local", 7, ask), kept.get("local", 8, ask)] == [0, 0, 1]
    assert kept.get("prd", 8, ask) == 2
    assert [old.get("local", 7, ask), old.get("local", 7, ask)] == [3, 4]


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    assert (ago(timedelta(seconds=-30)), spell(timedelta(seconds=-30))) == ("just now", "0 s")
