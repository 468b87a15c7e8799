"""Several deployers of one environment: at once, and one that was stopped and goes on when another was there."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.matrix.environment import Tiny, short_lease
from tests.support.matrix.points import KINDS
from tests.support.matrix.stopped import stop_at
from tests.support.soak import Report

AT_ONCE = 8
ROUNDS, MANY_ROUNDS = 3, 50
# In the tests that run always: the step that moves the pointer.
SOME_STEPS = ("Handover",)


def rounds_of(tiny: Tiny, manifests: list[str], rounds: int, report: Report) -> Iterator[dict[str, Any]]:
    python = str(tiny.clone.root / ".venv" / "bin" / "python")
    with subprocess.Popen(
        [python, "-m", "tests.support.deployers", str(rounds), str(AT_ONCE), *manifests],
        cwd=tiny.clone.root,
        env=tiny.clone.environ(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            report(f"round {number} of {rounds}: {line[:60]}")
            yield json.loads(line)
    assert process.returncode == 0


def _eight_at_once(tiny: Tiny, rounds: int, report: Report) -> None:
    before = tiny.ledger.head()
    assert before is not None
    done = 0
    live = f"stacks/releases/{tiny.clone.live()}.yaml"
    manifests = sorted(tiny.kept(), key=lambda path: path != live)
    for found in rounds_of(tiny, manifests, rounds, report):
        done += 1
        assert found["failed"] == {}
        assert len(found["won"]) == 1
        (winner,) = found["won"]
        assert len(found["refused"]) == AT_ONCE - 1
        for code, said in found["refused"].values():
            assert code == 22
            assert f"(pid {winner}) deploys since" in said
    assert done == rounds
    # What the agent sees of a busy machine is no part of a command.
    new = [e.kind for e in reversed(tiny.ledger.entries()) if e.n > before.n and e.kind != "observed"]
    _do_not_interleave(new, rounds)
    tiny.check(str(found["won"][winner]))


def _do_not_interleave(kinds: list[str], commands: int) -> None:
    """Between an intent and its end there is no other intent, and one release became live."""
    each = " ".join(kinds).split("intent ")
    assert each[0] == ""
    assert len(each) == commands + 1
    for entries in each[1:]:
        assert entries.split()[-1] == "done", entries
        assert entries.split().count("live") == 1, entries
        assert entries.split().count("done") == 1, entries


@pytest.mark.timeout(400)
def test_of_eight_deployers_at_once_one_wins_and_the_others_are_told_who(
    small_releases: Tiny, report: Report
) -> None:
    _eight_at_once(small_releases, ROUNDS, report)


@pytest.mark.matrix
@pytest.mark.timeout(0)
def test_of_eight_deployers_at_once_one_wins_fifty_times(small_releases: Tiny, report: Report) -> None:
    _eight_at_once(small_releases, MANY_ROUNDS, report)


def _stopped(tiny: Tiny, steps: tuple[str, ...], report: Report) -> None:
    wrong = []
    with short_lease(tiny.clone):
        for step in steps:
            # A rollback by the other one is another release all the same, and has what it needs.
            late, other = tiny.manifest(), tiny.manifest(shift=False, derived=False)
            found = stop_at(tiny, step, ["deploy", late], ["deploy", other], _tag(other))
            report(f"stopped at {step}: code {found.code}: {found.wrong or 'well'}\n{found.text}")
            wrong += [f"{step}: {each}" for each in found.wrong]
            # The same command again goes on where it was.
            tiny.clone.run("deploy", late)
            tiny.check(_tag(late))
    assert not wrong, "\n".join(wrong)


def _tag(manifest: str) -> str:
    return manifest.rpartition("/")[2].removesuffix(".yaml")


@pytest.mark.timeout(400)
def test_a_deployer_that_was_stopped_until_another_deployed_is_refused_and_says_why(
    small_releases: Tiny, report: Report
) -> None:
    _stopped(small_releases, SOME_STEPS, report)


@pytest.mark.matrix
@pytest.mark.timeout(0)
def test_a_deployer_stopped_at_any_step_is_refused(small_releases: Tiny, report: Report) -> None:
    _stopped(small_releases, tuple(KINDS), report)
