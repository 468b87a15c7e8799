"""The page's answers over a real ledger: every route, and what it shows while a server is away."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from mlops_sdk.rollout.agent.page.app import create_page
from mlops_sdk.runtime.settings import OperatorSettings
from tests.support.environment import MASTER_KEY
from tests.support.page import PageProject, duty_states


@pytest.fixture
def client(page_project: PageProject) -> Iterator[TestClient]:
    with TestClient(
        create_page(page_project.project, "local", duty_states), base_url="http://127.0.0.1"
    ) as made:
        yield made


def words(page: str) -> str:
    """The text of a page, as one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def next_second(client: TestClient) -> None:
    """What several windows share for a second is over."""
    client.app.state.page.looker._seen.clear()  # type: ignore[attr-defined]


@pytest.fixture
def two_releases(page_project: PageProject) -> PageProject:
    page_project.lock("v0.0.1", "First", model=1)
    page_project.lock("v0.0.2", "Second <b>bold</b>", model=2)
    page_project.deploy("v0.0.1")
    page_project.deploy("v0.0.2")
    return page_project


def test_an_environment_without_a_release_says_so(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Nothing is live" in page.text and "Nothing was ever live." in page.text


def test_environments_stand_side_by_side_also_one_that_is_not_here(
    client: TestClient, two_releases: PageProject
) -> None:
    page = words(client.get("/").text)
    assert "staging — not on this machine" in page and "mlops up staging" in page
    other = client.get("/env/staging")
    assert other.status_code == 200 and "was never brought up" in other.text
    assert "local v0.0.2" in words(other.text)
    assert "catch-up" not in other.text  # its duties are another process's


def test_the_live_release_is_shown_with_code_models_and_tables(
    client: TestClient, two_releases: PageProject
) -> None:
    page = client.get("/").text
    lock = two_releases.releases.locks["v0.0.2"]
    assert lock.code.commit[:12] in page
    assert "http://127.0.0.1:21002/#/models/movie-reranker/versions/2" in page
    fingerprint = two_releases.environment.ledger.binding(lock.digest).fingerprints["content"]  # type: ignore[union-attr]
    assert fingerprint[:12] in page and "3,201" in page
    assert "shared with 1 more" in page


def test_a_page_that_did_not_change_is_not_sent_again(client: TestClient, two_releases: PageProject) -> None:
    states = duty_states()

    def window() -> TestClient:  # of an agent that has just begun: it remembers nothing
        return TestClient(
            create_page(two_releases.project, "local", lambda: states), base_url="http://127.0.0.1"
        )

    with window() as same:
        first = same.get("/")
        again = same.get("/", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    two_releases.down.add("mlflow")
    with window() as other:
        assert other.get("/", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_two_releases_are_compared_with_the_commits_between_them(
    client: TestClient, two_releases: PageProject
) -> None:
    page = client.get("/env/local/diff?old=v0.0.1&new=v0.0.2")
    assert page.status_code == 200
    assert "movie-reranker 1" in page.text and "movie-reranker 2" in page.text
    assert "Second &lt;b&gt;bold&lt;/b&gt;" in page.text  # what a person wrote is text
    same = client.get("/env/local/diff?old=v0.0.1&new=v0.0.1")
    assert "Nothing differs." in same.text


def test_drift_readiness_blocks_and_a_pause_are_on_the_page(
    client: TestClient, two_releases: PageProject
) -> None:
    ledger, locks = two_releases.environment.ledger, two_releases.releases.locks
    assert "ready: tables, code, models and service are there" in words(client.get("/").text)
    two_releases.running.discard(locks["v0.0.1"].digest)
    # An entry makes the page ask again what it remembers.
    pause = {"event": "pause", "release": "v0.0.2", "made": False}
    ledger.record("event", lease=None, actor="ann", reason="paused: v0.0.2 is live in prd", details=pause)
    next_second(client)
    page = words(client.get("/").text)
    assert "services: the service of v0.0.1 does not answer" in page and "needs attention" in page
    assert "v0.0.2 (paused)" in page and "Paused: v0.0.2 went on to a later environment" in page
    assert "first: its service is started" in page
    ledger.record("block", lease=None, digest=locks["v0.0.1"].digest, reason="prices are wrong")
    next_second(client)
    page = words(client.get("/").text)
    assert "v0.0.1 (blocked: prices are wrong)" in page and "There is no earlier verified release" in page


def test_only_releases_of_the_ledger_are_compared_never_files(
    client: TestClient, two_releases: PageProject, tmp_path: Path
) -> None:
    file = tmp_path / "x.lock.yaml"
    file.write_text("secret: 1")
    page = client.get("/env/local/diff", params={"old": str(file), "new": "v0.0.1"})
    assert page.status_code == 404
    assert "has no release" in page.text and "secret" not in page.text
    script = client.get("/env/local/diff", params={"old": "<script>alert(1)</script>", "new": "v0.0.1"})
    assert "<script>alert" not in script.text


def test_while_postgres_is_away_the_problem_its_remedy_and_the_rest_are_shown(
    client: TestClient, page_project: PageProject
) -> None:
    folder = page_project.root / ".mlops" / "local" / "env"
    gone = OperatorSettings(
        operator_url=SecretStr("postgresql://sdk:hidden-word@127.0.0.1:1/app"),
        master_key=MASTER_KEY,
        source_owner_url=SecretStr("postgresql://x@127.0.0.1:1/source"),
    )
    gone.write(folder / "operator.env")
    page = client.get("/")
    assert page.status_code == 200
    text = words(page.text)
    assert "Not known" in text and "Postgres did not answer" in text and "mlops up ENV starts it" in text
    assert "router http://127.0.0.1:21004" in text and "prefect-worker running" in text
    assert "hidden-word" not in page.text
    assert client.get("/env/local/diff?old=a&new=b").status_code == 404
    assert client.get("/livez").json() == {"alive": True}


def test_no_secret_is_on_any_page(client: TestClient, two_releases: PageProject) -> None:
    url = two_releases.environment.conninfo().get_secret_value()
    password = dict(pair.split("=", 1) for pair in url.split())["password"].strip("'")
    for path in ("/", "/env/local/diff?old=v0.0.1&new=v0.0.2", "/duties"):
        text = client.get(path).text
        assert password not in text and MASTER_KEY.get_secret_value() not in text


def test_what_is_not_there_is_said(client: TestClient) -> None:
    page = client.get("/env/nowhere")
    assert page.status_code == 404 and "no environment" in page.text
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/page.py").status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_the_page_only_answers(client: TestClient, method: str) -> None:
    for path in ("/", "/env/local", "/env/local/diff", "/duties", "/livez"):
        assert getattr(client, method)(path).status_code == 405


def test_the_policy_forbids_what_comes_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/env/nowhere", "/static/page.js", "/duties"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
    assert not re.search(r"<script>|<style|\son\w+=|style=", client.get("/").text)


def test_a_request_that_names_another_host_is_refused(page_project: PageProject) -> None:
    page = create_page(page_project.project, "local", duty_states)
    assert TestClient(page, base_url="http://evil.example").get("/duties").status_code == 400
    assert TestClient(page, base_url="http://localhost:1234").get("/duties").status_code == 200


def test_a_failing_duty_is_on_the_page_and_in_the_duties_document(page_project: PageProject) -> None:
    def states() -> list:  # type: ignore[type-arg]
        return duty_states(failures=3, error="postgres: gone")

    with TestClient(
        create_page(page_project.project, "local", states), base_url="http://127.0.0.1"
    ) as client:
        text = words(client.get("/").text)
        assert "duty catch-up fails: postgres: gone" in text and "failed 3×" in text
        document = client.get("/duties").json()
    assert document["environment"] == "local"
    assert [duty["name"] for duty in document["duties"]] == ["catch-up", "turn-back", "gc"]
    assert document["duties"][0]["error"] == "postgres: gone"
