"""SIGKILL at every step of deploy and rollback, and releases that fail: it converges, nothing is lost."""

import shutil
import signal
import time
from pathlib import Path

import httpx
import pytest

from mlops_sdk.rollout.plan import steps
from tests.support.clone import Clone, await_true
from tests.support.kills import kill_when

pytestmark = pytest.mark.timeout(400)

# How each step begins in the progress, and seconds to let it work before the kill. One command is killed at the
# first of them, run again and killed at the next, until it is let through.
DEPLOY_KILLS = [
    ("check out", 0.0),
    ("bind", 0.0),
    ("share", 0.0),
    ("fork", 0.0),
    ("bring up", 3.0),
    ("verify", 0.0),
    ("shift", 0.0),
    ("hand over", 0.1),
    ("retire", 0.0),
    ("record", 1.5),
]
ROLLBACK_KILLS = [("verify", 0.0), ("hand over", 0.1), ("record", 1.5)]
# More of them, inside of steps, for `make test-slow`.
MORE_DEPLOY_KILLS = [
    ("bring up", 0.5),
    ("bring up", 5.0),
    ("hand over", 0.0),
    ("record", 0.0),
    ("record", 3.0),
]
MORE_ROLLBACK_KILLS = [("hand over", 0.0), ("record", 0.0), ("record", 3.0)]
SHIFT = "shift: {steps: [50], each: {seconds: 0}}\n"
TINY = Path(__file__).parent.parent / "support" / "tiny"


class Counts:
    """What was accepted by name; each must be there in whatever release is live."""

    def __init__(self) -> None:
        self.accepted: dict[str, int] = {}

    def add(self, http: httpx.Client, name: str) -> None:
        """Count once; a refusal is no acceptance, and fails the test."""
        answer = http.post("/count", params={"name": name})
        assert answer.status_code == 201, answer.text
        self.accepted[name] = self.accepted.get(name, 0) + 1

    def check(self, http: httpx.Client) -> None:
        """Every acceptance is there, once."""
        for name, count in self.accepted.items():
            assert http.get("/count", params={"name": name}).json() == {"n": count}, name


@pytest.fixture(scope="module")
def tiny(bare_clone: Clone) -> Clone:
    """A clone with three small releases, of which v0.0.12 is live: the next one lets the oldest fall out."""
    clone = bare_clone
    shutil.copytree(TINY, clone.root / "pipelines" / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    clone.git("add", "pipelines/tiny")
    clone.git("commit", "--quiet", "-m", "A small release", "pipelines/tiny")
    for release in ("v0.0.10", "v0.0.11", "v0.0.12"):
        clone.run("deploy", manifest(clone, release))
    return clone


@pytest.fixture(scope="module")
def counts() -> Counts:
    return Counts()


def manifest(clone: Clone, release: str, *, more: str = "") -> str:
    path = f"stacks/releases/{release}.yaml"
    (clone.root / path).write_text(
        f"schema: 1\nrelease: {release}\ncode: {{ref: HEAD}}\nstate: pipelines.tiny.tables:STATE\n"
        f"service: pipelines.tiny.service:create_app\nparameters: {{note: {release}}}\n{more}"
    )
    return path


def test_every_kind_of_step_that_writes_has_a_kill_of_its_own() -> None:
    told = {
        "check out": steps.PrepareCode("a" * 40, ""),
        "bind": steps.Bind("r", ""),
        "share": steps.Share("t"),
        "fork": steps.Fork("t", "carry", ""),
        "bring up": steps.Up("r", ""),
        "verify": steps.Verify("r", ""),
        "shift": steps.Shift("r", "", "", 50, 128, 0.0, None),
        "hand over": steps.Handover("r", "", "", ""),
        "retire": steps.Retire("r", ""),
        "record": steps.Record("r", ""),
    }
    assert all(steps.describe(step).startswith(words) for words, step in told.items())
    killed_elsewhere = {
        steps.Build,
        steps.Reuse,
    }  # a build is killed in the first deploy; reuse writes nothing
    assert {type(step) for step in told.values()} | killed_elsewhere == set(steps.Step.__args__)
    assert {words for words, _ in DEPLOY_KILLS} == set(told)


def killed_along(
    clone: Clone, http: httpx.Client, counts: Counts, kills: list[tuple[str, float]], *command: str
) -> None:
    """Run the command and kill it at each of `kills` in turn, counting before each; then let it through."""
    words = [step for step, _ in kills]
    for number, (_, delay_s) in enumerate(kills):
        counts.add(http, f"{command[0]} {number}")
        # A kill that came late has let its step be done: then the next one is the first to be seen.
        process = clone.start(*command)
        kill_when(process, rf"^\[\d+/\d+\] ({'|'.join(words[number:])})", delay_s=delay_s)
        assert process.returncode == -signal.SIGKILL
        await_true("no engine is left", lambda: clone.engines() == [])
    clone.run(*command)


def test_a_deploy_killed_at_every_step_in_turn_converges(tiny: Clone, counts: Counts) -> None:
    with tiny.client() as http:
        killed_along(tiny, http, counts, DEPLOY_KILLS, "deploy", manifest(tiny, "v0.0.13", more=SHIFT))

        assert tiny.live() == "v0.0.13"
        counts.add(http, "after the kills")
        counts.check(http)
    _is_whole(tiny)
    assert [row["release"] for row in tiny.json("history", "local")] == [
        "v0.0.13",
        "v0.0.12",
        "v0.0.11",
        "v0.0.10",
    ]


def test_a_rollback_killed_at_every_step_in_turn_goes_back_one_release_and_no_further(
    tiny: Clone, counts: Counts
) -> None:
    with tiny.client() as http:
        killed_along(tiny, http, counts, ROLLBACK_KILLS, "rollback", "local", "-m", "a kill")

        assert tiny.live() == "v0.0.12"
        counts.add(http, "after the kills")
        counts.check(http)
    _is_whole(tiny)


@pytest.mark.slow
def test_a_deploy_and_a_rollback_killed_at_more_moments_inside_of_steps_converge(
    tiny: Clone, counts: Counts
) -> None:
    live = tiny.live()
    with tiny.client() as http:
        tiny.run("resume", "local")
        killed_along(tiny, http, counts, MORE_DEPLOY_KILLS, "deploy", manifest(tiny, "v0.0.14"))
        assert tiny.live() == "v0.0.14"
        killed_along(tiny, http, counts, MORE_ROLLBACK_KILLS, "rollback", "local", "-m", "more kills")
        assert tiny.live() == live
        counts.check(http)
    _is_whole(tiny)


def _is_whole(clone: Clone) -> None:
    checks = clone.json("doctor", "local")
    assert [check for check in checks if not check["ok"]] == []
    assert clone.json("lease", "show", "local") is None


def test_down_leaves_nothing_running_and_a_bare_pulumi_up_starts_all_of_it_in_order(
    tiny: Clone, counts: Counts
) -> None:
    from mlops_sdk.platform.supervisor import Supervisor

    tiny.run("down", "local")
    assert Supervisor(tiny.folder).pids() == []
    assert "nothing was running" in tiny.run("down", "local").stdout

    tiny.shell("pulumi up -s local --yes --skip-preview")

    with tiny.client() as http:
        counts.check(http)
    _is_whole(tiny)
    tiny.shell("pulumi preview -s local --expect-no-changes")


@pytest.mark.slow
def test_after_kill_of_everything_up_brings_everything_back(tiny: Clone, counts: Counts) -> None:
    assert tiny.kill_everything() > 6

    tiny.run("up", "local")

    with tiny.client() as http:
        counts.check(http)
    _is_whole(tiny)


def test_a_bare_pulumi_up_with_another_live_release_in_config_makes_it_live_with_an_entry(
    tiny: Clone, counts: Counts
) -> None:
    releases = {
        r["release"]: r["digest"] for r in tiny.json("status", "local")["releases"] if r["slot"] == "kept"
    }
    target, digest = next(iter(releases.items()))
    path = tiny.root / "stacks" / "Pulumi.local.yaml"
    before = time.time()
    lines = [
        f"  mlops-sdk:live: {digest}" if line.startswith("  mlops-sdk:live:") else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")

    tiny.shell("pulumi up -s local --yes --skip-preview")

    assert tiny.live() == target
    newest = tiny.json("history", "local")[0]
    assert newest["release"] == target
    assert newest["reason"]
    with tiny.client() as http:
        counts.check(http)
    assert time.time() > before


def test_a_release_that_crashes_is_turned_back_and_the_first_error_comes_first(
    tiny: Clone, counts: Counts
) -> None:
    live = tiny.live()
    service = tiny.root / "pipelines" / "tiny" / "service.py"
    text = service.read_text()
    service.write_text(
        text.replace(
            "    return create_service(", '    raise OSError("no such oracle")\n    return create_service('
        )
    )
    tiny.git("commit", "--quiet", "-m", "A service that does not start", "pipelines/tiny")
    tiny.run("resume", "local")

    done = tiny.run("deploy", manifest(tiny, "v0.0.20"), code=20)

    assert tiny.live() == live
    assert done.stderr.index("no such oracle") < done.stderr.index("turned back:")
    assert "v0.0.20" not in (tiny.root / "stacks" / "Pulumi.local.yaml").read_text()
    with tiny.client() as http:
        counts.check(http)
    _is_whole(tiny)
