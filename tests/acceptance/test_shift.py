"""Traffic goes over in declared steps while people ask, and comes back at once when a gate fails."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from mlops_sdk.ledger.store import Ledger
from mlops_sdk.traffic.router_files import FileTraffic
from tests.support.clone import Clone, await_true
from tests.support.load import load

pytestmark = pytest.mark.timeout(400)
TINY = Path(__file__).parent.parent / "support" / "tiny"
GATES = """\
verify:
  error_rate: {at_most: 0.05}
  latency: {ratio_at_most: 20, quantile: 0.5}
  catch_up: {keys_at_most: 10000}
  commands:
    own: {run: [python, -c, "import os; print('port', os.environ['MLOPS_SERVICE_PORT'])"]}
  min_samples: 20
"""


def manifest(clone: Clone, release: str, *, shift: str = "", fail: bool = False) -> str:
    path = f"stacks/releases/{release}.yaml"
    (clone.root / path).write_text(
        f"schema: 1\nrelease: {release}\ncode: {{ref: HEAD}}\nstate: pipelines.tiny.tables:STATE\n"
        "service: pipelines.tiny.service:create_app\n"
        f"parameters: {{note: {release}, fail: {str(fail).lower()}}}\n"
        + (f"{GATES}shift: {shift}\n" if shift else "")
    )
    return path


@pytest.fixture(scope="module")
def tiny(bare_clone: Clone) -> Clone:
    """A clone with a small release that is live."""
    clone = bare_clone
    shutil.copytree(
        TINY,
        clone.root / "pipelines" / "tiny",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    clone.git("add", "pipelines/tiny")
    clone.git("commit", "--quiet", "--allow-empty", "-m", "A small release", "pipelines/tiny")
    clone.run("deploy", manifest(clone, "v0.0.31"))
    return clone


def shares(clone: Clone, release: str) -> list[int]:
    """The shares of traffic that the ledger says the release was given, oldest first."""
    ledger = Ledger(SecretStr(clone.variables()["MLOPS_OPERATOR_URL"]), "local")
    digest = next(b.digest for b in ledger.bindings(retired=True) if b.release == release)
    entries = [e for e in reversed(ledger.entries()) if e.kind == "shifted" and e.digest == digest]
    return [entry.details["share"] for entry in entries]


def share_now(clone: Clone) -> int:
    return FileTraffic(clone.folder / "router").read().next_share


def test_traffic_goes_over_in_steps_and_no_request_fails(tiny: Clone) -> None:
    router = tiny.variables()["MLOPS_ROUTER_URL"]
    steps = "{steps: [25, 50, 100], each: {requests: 40}}"
    with load(router, "recommender") as people:
        done = tiny.run("deploy", manifest(tiny, "v0.0.32", shift=steps))

    assert people.failed == []
    assert set(people.by_release()) == {"v0.0.31", "v0.0.32"}
    assert shares(tiny, "v0.0.32") == [64, 128, 256]
    assert tiny.live() == "v0.0.32"
    assert "ok   error rate" in done.stderr
    assert "ok   command own: exit code 0: port" in done.stderr


def test_a_release_that_fails_under_traffic_is_turned_back_and_what_was_seen_is_kept(tiny: Clone) -> None:
    router = tiny.variables()["MLOPS_ROUTER_URL"]
    live = tiny.live()
    steps = "{steps: [50, 100], each: {seconds: 120}}"
    with load(router, "recommender") as people:
        done = tiny.run("deploy", manifest(tiny, "v0.0.33", shift=steps, fail=True), code=20)
        before = people.by_release()
        people.forget()
        while people.total() < 200:
            assert people.by_release().get("v0.0.33") is None

    assert before["v0.0.33"] > 0
    assert "v0.0.33 failed at 50 % of traffic: error rate" in done.stderr
    assert tiny.live() == live
    assert shares(tiny, "v0.0.33") == [128, 0]
    (folder,) = (tiny.folder / "evidence").glob("*-v0.0.33")
    assert folder.stat().st_mode & 0o077 == 0
    assert "mlops_requests_total" in (folder / "metrics-v0.0.33.txt").read_text()
    assert "asked to fail" in (folder / "service-v0.0.33.log").read_text()
    routes = json.loads((folder / "routes.json").read_text())
    assert routes["next_share"] == 128, "it was kept before traffic was turned back"
    assert not (folder / "missing.txt").exists()
    assert [check for check in tiny.json("doctor", "local") if not check["ok"]] == []


def test_a_shift_whose_deployer_was_killed_goes_on_where_it_was(tiny: Clone) -> None:
    router = tiny.variables()["MLOPS_ROUTER_URL"]
    file = manifest(tiny, "v0.0.34", shift="{steps: [25, 75], each: {seconds: 4}}")
    with load(router, "recommender") as people:
        process = tiny.start("deploy", file)
        await_true("three quarters go over", lambda: share_now(tiny) == 192, timeout_s=120)
        process.kill()
        process.communicate()
        assert tiny.live() == "v0.0.32"
        done = tiny.run("deploy", file)

    assert people.failed == []
    assert "shift 75 %" in done.stderr
    assert "shift 25 %" not in done.stderr
    assert tiny.live() == "v0.0.34"
    assert shares(tiny, "v0.0.34") == [64, 192]


def test_a_rollback_under_load_fails_no_request(tiny: Clone) -> None:
    router = tiny.variables()["MLOPS_ROUTER_URL"]
    with load(router, "recommender") as people:
        tiny.run("rollback", "local", "-m", "people are asking")
        before = people.total()
        await_true("people ask on", lambda: people.total() > before + 50)

    assert people.failed == []
    assert set(people.by_release()) == {"v0.0.34", "v0.0.32"}
    assert tiny.live() == "v0.0.32"
    tiny.run("resume", "local")
