"""Postgres set back to an earlier state: the ledger is older than the world, and the world is made to follow."""

import re

import pytest

from tests.support.clone import Clone, await_true
from tests.support.restoring import back_up, restore

pytestmark = pytest.mark.timeout(400)


def test_after_a_restore_of_postgres_everything_is_made_to_follow_the_older_ledger(clone: Clone) -> None:
    clone.run("resume", "local")
    if clone.live() is None:  # this file runs alone
        clone.run("deploy", clone.manifest("v0.0.20"), "-m", "before the backup")
    before = clone.live()
    back_up(clone)
    clone.run("deploy", clone.manifest("v0.0.21", candidates=180), "-m", "after the backup")
    with clone.client() as http:
        assert http.get("/recommend", params={"user_id": 7}).headers["X-MLOps-Release"] == "v0.0.21"

    restore(clone)

    broken = clone.run("ledger", "verify", "local", code=1).stderr
    assert re.search(r"stacks/Pulumi.local.yaml: entry \d+ is not there", broken)
    assert "mlops doctor local --reconcile" in broken
    dry = clone.json("doctor", "local", "--reconcile", "--dry-run")
    assert [one["release"] for one in dry["lost"]] == ["v0.0.21"]
    assert dry["entry"] is None
    said = [f"{one['with']}: {one['what']}" for one in dry["found"]]
    for words in (
        "stack config: v0.0.21 is not in the ledger",
        f"stack config: it has v0.0.21 live, the ledger {before}",
        f"Pulumi: it made v0.0.21 live, the ledger says {before}",
    ):
        assert any(words in line for line in said), (words, said)
    with clone.client() as http:  # by the agent, before anybody has looked: v0.0.21 has no tables any more
        await_true(
            "the router leads to what the ledger says",
            lambda: http.get("/recommend", params={"user_id": 7}).headers.get("X-MLOps-Release") == before,
        )
    clone.run("doctor", "local", "--reconcile", code=2)  # no reason
    clone.run("doctor", "local", "--reconcile", "-m", "x", code=8)  # nobody confirmed
    assert clone.run("ledger", "verify", "local", code=1).stdout == ""

    clone.run("doctor", "local", "--reconcile", "-m", "the disk was lost", "--yes")

    assert clone.live() == before
    await_true("every check holds", lambda: clone.start("doctor", "local").wait(60) == 0)
    assert clone.json("status", "local")["drift"] == []
    assert clone.json("ledger", "verify", "local")["anchors"][0]["lost_by"] is None
    newest = next(row for row in clone.json("history", "local", "--all") if row["kind"] == "reconciled")
    assert newest["reason"] == "the disk was lost"
    with clone.client() as http:
        assert http.get("/recommend", params={"user_id": 7}).headers["X-MLOps-Release"] == before
    assert "everything agrees" in clone.run("doctor", "local", "--reconcile", "--dry-run").stdout
    clone.shell("pulumi preview -s local --expect-no-changes")
