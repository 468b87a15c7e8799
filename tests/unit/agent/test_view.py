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
from mlops_sdk.rollout.agent.page.look import Problem, Recorded, Seen
from mlops_sdk.rollout.agent.page.timeline import timeline
from mlops_sdk.rollout.agent.page.view import Check, EnvironmentView, environment_view
from mlops_sdk.rollout.agent.page.words import ago, size, spell
from mlops_sdk.state.sizes import ReleaseSize, TableSize
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


def recorded(**changes: Any) -> Recorded:
    """v0.0.2 is live by a rollback from v0.0.3; everything answers."""
    values: dict[str, Any] = {
        "pointer": Pointer(DIGEST["v0.0.2"], 3, 5),
        "live": ENTRIES[0],
        "hold": None,
        "held": None,
        "bindings": BINDINGS,
        "statuses": dict.fromkeys(DIGEST.values(), "cut"),
        "locks": {lock.digest: lock for lock in LOCKS.values()},
        "entries": ENTRIES,
        "back_to": DIGEST["v0.0.1"],
        "running": frozenset(DIGEST.values()),
        "sizes": {},
        **changes,
    }
    return Recorded(**values)


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
    assert all(check.ok for check in view.back.ready)
    assert view.links == (("router", "http://127.0.0.1:1"),)  # neither itself nor what no browser opens


def test_a_way_back_that_is_not_ready_says_what_is_missing() -> None:
    sizes = ReleaseSize(
        DIGEST["v0.0.1"],
        "v0.0.1",
        "cut",
        False,
        "s",
        (),
        (TableSize("users", "forked", "s.users", "stale", 1, 1, 0),),
    )
    found = recorded(running=frozenset({DIGEST["v0.0.2"]}), sizes={DIGEST["v0.0.1"]: sizes})
    back = environment_view(seen(found)).back
    assert back is not None
    assert [(check.name, check.ok) for check in back.ready] == [
        ("service", False),
        ("tables", True),
        ("rows", False),
    ]
    none = environment_view(seen(recorded(back_to=None))).back
    assert none is not None and (none.command, none.why_not != "") == ("", True)


def test_a_live_service_that_does_not_answer_is_the_worst() -> None:
    view = environment_view(seen(recorded(running=frozenset())))
    assert (view.tone, view.word) == ("bad", "does not answer")
    assert "nothing of it answers on port 4002" in what(view)[0]
    assert "mlops up local" in view.problems[0].remedy


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
    found = recorded(pointer=Pointer(None, 0, None), live=None, entries=(), bindings=(), back_to=None)
    view = environment_view(seen(found, routes=Routes(None, None, 0, 0)))
    assert (view.title, view.tone, view.back, view.problems) == ("Nothing is live", "none", None, ())


def test_traffic_of_a_shift_is_shown_by_slot_and_is_no_drift() -> None:
    view = environment_view(seen(routes=Routes(PORT["v0.0.2"], PORT["v0.0.3"], 64, 0)))
    assert [(s.slot, s.release, s.percent) for s in view.slots] == [
        ("current", "v0.0.2", 75.0),
        ("next", "v0.0.3", 25.0),
    ]
    assert checks(view)["router"].ok


@pytest.mark.parametrize(
    "routes", [Routes(4003, None, 0, 0), Routes(None, None, 0, 0), Routes(9, 4002, 128, 0)]
)
def test_a_router_that_leads_elsewhere_is_drift(routes: Routes) -> None:
    view = environment_view(seen(routes=routes))
    assert not checks(view)["router"].ok
    assert view.word == "needs attention"


def test_processes_that_are_down_are_named() -> None:
    processes = (
        ProgramStatus("mlflow", "FATAL", None, None, ""),
        ProgramStatus("router", "RUNNING", 1, 1, ""),
    )
    assert "processes: mlflow down" in what(environment_view(seen(processes=processes)))


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


def test_a_clock_that_is_behind_shows_no_negative_time() -> None:
    assert (ago(timedelta(seconds=-30)), spell(timedelta(seconds=-30))) == ("just now", "0 s")
