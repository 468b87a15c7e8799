"""The way of a user: release, release, roll back; code, models and state go along and come back."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_sdk.stack.ports import free_ports
from tests.support.clone import ROOT, Clone, await_true
from tests.support.kills import kill_when
from tools.demo.client import AskingClient

pytestmark = pytest.mark.timeout(400)
TITLES = {
    str(film["Title"])
    for film in json.loads((ROOT / "pipelines" / "recommender" / "data" / "movies.json").read_text())
}
READERS = (7, 11, 42, 250)


@pytest.fixture(scope="module")
def first() -> dict[str, Any]:
    """What was seen while the first release was live: `films` by reader, `inputs` of Pulumi's resources."""
    return {}


def films_for(http: httpx.Client, user: int) -> list[dict[str, object]]:
    """Ask for five films; what the answer holds, request id and times aside."""
    answer = http.get("/recommend", params={"user_id": user, "k": 5})
    assert answer.status_code == 200, answer.text
    films: list[dict[str, object]] = answer.json()["films"]
    return films


def test_a_first_deploy_that_is_killed_while_it_builds_goes_on_and_builds_once(clone: Clone) -> None:
    process = clone.start("deploy", "stacks/releases/v0.0.1.yaml")
    kill_when(process, r"content: [\d,]+ rows")
    assert process.returncode == -signal.SIGKILL

    again = clone.run("deploy", "stacks/releases/v0.0.1.yaml", "-m", "the first release")

    assert clone.live() == "v0.0.1"
    assert "3,201 rows" in again.stderr
    assert clone.engines() == []


def test_the_service_answers_real_titles_and_says_which_release_it_is(clone: Clone) -> None:
    with clone.client() as http:
        answer = http.get("/recommend", params={"user_id": 7, "k": 5})

    status = clone.json("status", "local")
    assert {film["title"] for film in answer.json()["films"]} <= TITLES
    assert len(answer.json()["films"]) == 5
    assert answer.headers["X-MLOps-Release"] == "v0.0.1"
    assert answer.headers["X-MLOps-Digest"] == status["digest"]
    assert answer.headers["X-MLOps-Slot"] == "current"
    assert answer.headers["X-MLOps-Models"] == "embedder=movie-embedder/1, reranker=movie-reranker/1"
    request_id = answer.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    await_true("its predictions are logged", lambda: _is_logged(clone, request_id))
    rows = clone.json("which-release", request_id)
    assert {(row["release"], row["live"], row["slot"]) for row in rows} == {("v0.0.1", "v0.0.1", "current")}
    assert {row["model"] for row in rows} <= {"movie-embedder", "movie-reranker"}
    assert "no prediction is logged" in clone.run("which-release", "nobody-asked", code=6).stderr


def _is_logged(clone: Clone, request_id: str) -> bool:
    process = clone.start("which-release", request_id)
    process.communicate(timeout=60)
    return process.returncode == 0


def test_one_command_serves_a_model_of_the_environment_s_registry(clone: Clone) -> None:
    (port,) = free_ports(1)
    server = clone.start("serve", "--model", "models:/movie-reranker/1", "--port", str(port))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as http:
            await_true("the model is loaded", lambda: _is_ready(http), timeout_s=60)
            answer = http.post("/predict", json={"data": [[7.5, 10.0, 17.5, 17.0, 105, 1999, 0.5, 1, 10]]})
    finally:
        server.terminate()
        server.communicate(timeout=30)

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1
    assert answer.json()["model_used"] == "current"
    assert server.returncode == -signal.SIGTERM, "it ended by the signal, after what was under way"


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").is_success
    except httpx.TransportError:
        return False


def test_after_a_deploy_a_bare_pulumi_up_changes_nothing(clone: Clone) -> None:
    clone.shell("pulumi preview -s local --expect-no-changes")
    out = clone.shell("pulumi up -s local --yes --skip-preview")

    assert re.search(r"\d+ unchanged", out)
    assert not re.search(r"\d+ (created|updated|deleted|replaced|changed)", out)


def test_the_same_deploy_again_is_no_change(clone: Clone, first: dict[str, Any]) -> None:
    outcome = clone.json("deploy", "stacks/releases/v0.0.1.yaml")

    assert outcome["changed"] is False
    first["inputs"] = inputs_of(clone)
    with clone.client() as http:
        first["films"] = {user: films_for(http, user) for user in READERS}


def test_a_release_that_bumps_only_the_reranker_reuses_the_built_tables_and_the_plan_says_so(
    clone: Clone,
) -> None:
    plan = clone.json("plan", "stacks/releases/v0.0.2.yaml")
    assert not (clone.root / "stacks/releases/v0.0.2.lock.yaml").exists()
    done = clone.run("deploy", "stacks/releases/v0.0.2.yaml", "-m", "a better reranker")

    kinds = {step["table"]: step["step"] for step in plan["steps"] if "table" in step}
    assert kinds == {"content": "Reuse", "histories": "Reuse", "interactions": "Share", "users": "Fork"}
    assert [change["key"] for change in plan["diff"]["models"]] == ["reranker"]
    assert "reuse table content (built for v0.0.1, 3,201 rows)" in done.stderr
    assert clone.live() == "v0.0.2"


def test_a_rollback_under_load_fails_no_request_and_brings_the_first_answers_back(
    clone: Clone, first: dict[str, Any]
) -> None:
    with clone.client() as http:
        second = {user: films_for(http, user) for user in READERS}
        router = str(http.base_url)
        with AskingClient(router, first_user=100, users=20, films=3201, feedback_every=2) as asking:
            await_true("the client asks", lambda: asking.tally.requests > 40)
            preview = clone.run("rollback", "local", "-m", "demo").stderr
            so_far = asking.tally.requests
            await_true("the client asks on", lambda: asking.tally.requests > so_far + 40)
        after = {user: films_for(http, user) for user in READERS}
        writer_after = films_for(http, 100)

    assert asking.tally.failures == []
    assert asking.tally.releases == ["v0.0.2", "v0.0.1"]
    assert re.search(r"users \(forked, policy carry\): \d+ written, 0 lost", preview)
    assert second != first["films"]
    assert after == first["films"]
    assert len(writer_after) == 5
    _every_accepted_feedback_is_kept(clone, asking.tally.feedback)


def test_a_to_b_to_a_gives_the_same_registered_inputs_and_an_empty_preview(
    clone: Clone, first: dict[str, Any]
) -> None:
    now = inputs_of(clone)

    assert {urn: now[urn] for urn in first["inputs"]} == first["inputs"]
    clone.shell("pulumi preview -s local --expect-no-changes")


def _every_accepted_feedback_is_kept(clone: Clone, accepted: list[str]) -> None:
    import psycopg

    with psycopg.connect(clone.variables()["MLOPS_OPERATOR_URL"]) as connection:
        kept = connection.execute(
            "SELECT request_id FROM shared.interactions WHERE request_id = ANY(%s)", [accepted]
        ).fetchall()
        rows = connection.execute("SELECT user_id, count(*) FROM shared.interactions GROUP BY 1").fetchall()
        schema = next(r for r in clone.json("status", "local")["releases"] if r["slot"] == "current")
        counted = connection.execute(
            f'SELECT user_id, feedback_count FROM "{schema["pg_schema"]}".users'.encode()
        ).fetchall()
    assert len(accepted) > 20
    assert sorted(row[0] for row in kept) == sorted(accepted)
    # The forked table was carried: every user's count is the number of that user's interactions.
    assert dict(counted) == dict(rows)


def test_a_person_who_wrote_gets_an_answer_that_reflects_the_carried_rows(clone: Clone) -> None:
    with clone.client() as http:
        before = films_for(http, 77)
        liked = before[0]["film_id"]
        assert http.post("/feedback", json={"user_id": 77, "film_id": liked, "rating": 5}).status_code == 201
        after = films_for(http, 77)

    assert liked not in [film["film_id"] for film in after]


def test_history_status_and_at_tell_what_was_live_when(clone: Clone) -> None:
    rows = clone.json("history", "local")
    status = clone.json("status", "local")

    assert [row["release"] for row in rows[:2]] == ["v0.0.1", "v0.0.2"]
    assert rows[0]["rollback_of"] == "v0.0.2"
    assert rows[0]["reason"] == "demo"
    assert rows[0]["live_to"] is None
    assert rows[1]["live_to"] == rows[0]["live_from"]
    assert status["hold"] == "rollback: demo"
    assert {p["state"] for p in status["processes"] if p["name"] == "agent"} == {"RUNNING"}
    assert "rolled back from v0.0.2" in httpx.get(status["addresses"]["page"]).text
    assert clone.json("at", "local")["release"] == "v0.0.1"
    assert clone.json("at", "local~1")["release"] == "v0.0.2"
    assert clone.json("at", f"local#{rows[1]['n']}")["release"] == "v0.0.2"
    assert clone.json("at", f"local@{{{rows[1]['live_from']}}}")["release"] in ("v0.0.1", "v0.0.2")
    assert clone.json("at", "local@{2020-01-01T00:00}")["release"] is None


def test_two_releases_are_compared_by_address_and_by_tag(clone: Clone) -> None:
    found = clone.json("diff", "v0.0.1", "v0.0.2")
    assert [change["key"] for change in found["diff"]["models"]] == ["reranker"]
    assert clone.json("diff", "local", "local~1") == found  # rolled back: v0.0.1 is live
    words = clone.run("diff", "stacks/releases/v0.0.1.yaml", "v0.0.1").stdout
    assert "nothing differs" in words
    assert "no release 'v9'" in clone.run("diff", "v0.0.1", "v9", code=6).stderr


def test_the_ledger_holds_by_its_head_and_not_by_a_forged_anchor(clone: Clone) -> None:
    head = clone.json("ledger", "verify", "local")["head"]
    assert "holds" in clone.run("ledger", "verify", "local", "--anchor", head).stdout
    n, _, _ = head.partition(":")
    forged = clone.run("ledger", "verify", "local", "--anchor", f"{n}:sha256:{'0' * 64}", code=1)
    assert f"entry {n} has hash" in forged.stderr
    assert clone.run("ledger", "verify", "local", "--anchor", "newest", code=2).stdout == ""


def inputs_of(clone: Clone) -> dict[str, object]:
    """What Pulumi has registered, by resource, encrypted values and their order aside."""
    state = json.loads(clone.shell("pulumi stack export -s local"))
    found = {}
    for resource in state["deployment"]["resources"]:
        # A secret is encrypted anew each time it is written; that it is one stays.
        inputs = re.sub(r'"ciphertext": "[^"]*"', '"ciphertext": ""', json.dumps(resource.get("inputs", {})))
        found[resource["urn"]] = (inputs, resource.get("id"))
    return found


def test_a_code_change_is_released_and_rolled_back_and_the_old_code_answers(clone: Clone) -> None:
    service = clone.root / "pipelines" / "recommender" / "service.py"
    text = service.read_text()
    service.write_text(
        text.replace('{"user_id": user_id, "films": films}', '{"user": user_id, "films": films}')
    )
    dirty = clone.run("deploy", clone.manifest("v0.0.3"), code=5)
    clone.git("commit", "--quiet", "-m", "Answer under another name", "pipelines")
    held = clone.run("deploy", clone.manifest("v0.0.3"), code=24)
    clone.run("resume", "local")

    clone.run("deploy", clone.manifest("v0.0.3"), "-m", "new code")
    with clone.client() as http:
        new = http.get("/recommend", params={"user_id": 7, "k": 1}).json()
        clone.run("rollback", "local", "-m", "the old name was better")
        old = http.get("/recommend", params={"user_id": 7, "k": 1}).json()

    assert "a hold stands" in held.stderr
    assert "uncommitted changes" in dirty.stderr
    assert set(new) == {"user", "films"}
    assert set(old) == {"user_id", "films"}
    assert Path(service).read_text() != text  # the person's own work tree stays as it is


def test_what_is_dirty_is_released_only_as_a_recorded_snapshot(clone: Clone) -> None:
    service = clone.root / "pipelines" / "recommender" / "service.py"
    committed = service.read_text()
    service.write_text(committed.replace('"user": user_id', '"who": user_id'))
    try:
        lock = clone.json("lock", clone.manifest("v0.0.4"), "--allow-dirty")["lock"]
    finally:
        service.write_text(committed)

    assert lock["code"]["dirty"] is True
    assert '"who": user_id' in clone.git("show", f"{lock['code']['commit']}:pipelines/recommender/service.py")
