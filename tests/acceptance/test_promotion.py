"""Two environments of kind local on one machine: what the first verified goes on to the second.

They share MLflow and Prefect by URL, and the second has a Postgres that somebody else runs.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.runtime import env_file
from tests.support.clone import Clone, platform
from tests.support.neighbour import neighbour

pytestmark = pytest.mark.timeout(400)
TINY = Path(__file__).parent.parent / "support" / "tiny"
MANIFEST = "stacks/releases/v0.0.1.yaml"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone whose `local` has v0.0.1 live, and whose `second`, the next environment, is up and has nothing."""
    with platform(tmp_path_factory.mktemp("promotion")) as clone:
        shutil.copytree(TINY, clone.root / "pipelines" / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
        _add_a_derived_table(clone.root / "pipelines" / "tiny")
        (clone.root / MANIFEST).write_text(
            "schema: 1\nrelease: v0.0.1\ncode: {ref: HEAD}\nstate: pipelines.tiny.tables:STATE\n"
            "service: pipelines.tiny.service:create_app\n"
        )
        clone.git("add", "--all")
        clone.git("commit", "--quiet", "-m", "A small release")
        with neighbour(clone, "second", ["local", "second"]):
            clone.run("deploy", MANIFEST, "-e", "local")
            yield clone


def _add_a_derived_table(package: Path) -> None:
    (package / "build.py").write_text(
        "def greetings(context):\n    yield [{'language': 'en', 'words': 'hello'}]\n"
    )
    tables = package / "tables.py"
    text = tables.read_text().replace("import Forked", "import Derived, Forked")
    declared = (
        'greetings = Table(\n    "greetings",\n    _metadata,\n    Column("language", Text, primary_key=True),\n'
        '    Column("words", Text, nullable=False),\n)\n'
        'STATE = State(Derived(greetings, builder="pipelines.tiny.build:greetings"), '
    )
    tables.write_text(text.replace("STATE = State(", declared))


def variables(clone: Clone, environment: str) -> dict[str, str]:
    folder = clone.root / ".mlops" / environment / "env"
    return {**env_file.read(folder / "environment.env"), **env_file.read(folder / "operator.env")}


def ledger(clone: Clone, environment: str) -> Ledger:
    return Ledger(SecretStr(variables(clone, environment)["MLOPS_OPERATOR_URL"]), environment)


def digest(clone: Clone) -> str:
    found: str = clone.json("status", "local")["digest"]
    return found


def live(clone: Clone, environment: str) -> Any:
    return clone.json("status", environment)["live"]


def counted(clone: Clone, environment: str, method: str) -> httpx.Response:
    url = f"{variables(clone, environment)['MLOPS_ROUTER_URL']}/count"
    return httpx.request(method, url, params={"name": "a"}, timeout=10, trust_env=False)


def test_an_environment_runs_no_process_of_a_part_that_it_was_given(two: Clone) -> None:
    first, second = (Supervisor(two.root / ".mlops" / name).statuses() for name in ("local", "second"))
    assert set(first) - set(second) >= {"postgres", "mlflow", "prefect-server"}
    assert set(second) == {"prefect-worker", "agent", "router"}
    assert variables(two, "second")["MLFLOW_TRACKING_URI"] == variables(two, "local")["MLFLOW_TRACKING_URI"]
    ports = [
        {
            value
            for name, value in variables(two, env).items()
            if name in ("MLOPS_DATABASE_PORT", "MLOPS_ROUTER_URL")
        }
        for env in ("local", "second")
    ]
    assert not ports[0] & ports[1]


def test_a_release_that_was_withdrawn_blocked_or_goes_the_wrong_way_is_not_promoted(two: Clone) -> None:
    source, release = ledger(two, "local"), digest(two)

    assert "the order is local -> second" in two.run("promote", "second", "local", code=5).stderr
    source.record("withdrawn", lease=None, digest=release, reason="drift")
    assert "took its verification back" in two.run("promote", "local", "second", code=5).stderr
    assert "took its verification back" in two.run("ledger", "attest", "local", code=5).stderr
    two.run("verify", "local")
    two.run("block", MANIFEST, "-e", "second", "-m", "wait for the audit")
    blocked = two.run("promote", "local", "second", code=5).stderr
    assert "v0.0.1 is blocked here: wait for the audit" in blocked
    assert live(two, "second") is None
    two.run("unblock", MANIFEST, "-e", "second", "-m", "audited")


def test_a_verified_release_is_promoted_with_its_digest_and_tables_of_its_own(two: Clone) -> None:
    assert counted(two, "local", "POST").status_code == 201
    file = two.root / "v0.0.1.json"
    two.run("ledger", "attest", "local", "v0.0.1", "--out", str(file))

    done = two.run(
        "promote", "local", "second", "--attestation", str(file), "-m", "it went well", "-o", "json"
    )

    outcome = json.loads(done.stdout)
    assert done.stderr.index("build table greetings") < done.stderr.index("verify v0.0.1")
    assert "sealed p_greetings_" in done.stderr
    assert (outcome["release"], outcome["digest"], outcome["changed"]) == ("v0.0.1", digest(two), True)
    assert counted(two, "local", "GET").json() == {"n": 1}
    answer = counted(two, "second", "GET")
    assert answer.json() == {"n": 0}
    assert answer.headers["X-MLOps-Digest"] == digest(two)
    (intent,) = (entry for entry in ledger(two, "second").entries() if entry.kind == "intent")
    assert intent.details["intent"] == "promote"
    assert intent.details["attestation"] == json.loads(file.read_text())
    assert [check["ok"] for check in two.json("doctor", "second")] == [True] * len(
        two.json("doctor", "second")
    )


def test_promoting_what_is_live_is_no_change_whatever_became_of_it_in_the_source(two: Clone) -> None:
    ledger(two, "local").record("withdrawn", lease=None, digest=digest(two), reason="later")

    done = two.run("promote", "local", "second")

    assert done.stdout == "v0.0.1 is live in second: no change\n"


def test_after_a_promotion_a_bare_pulumi_preview_of_the_target_changes_nothing(two: Clone) -> None:
    two.shell('eval "$(.venv/bin/mlops stack env second)"; pulumi preview -s second --expect-no-changes')
