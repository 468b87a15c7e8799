"""What `mlops history`, `status`, `at`, `which-release` and `ledger verify` answer, on a real Postgres."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from mlops_sdk.errors import MlopsError, NotFoundError
from mlops_sdk.release.attestation import Attestation, format_attestation
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.doctor import audit
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.questions import ask
from mlops_sdk.state import State
from tests.support.asked import Asked
from tests.support.documented import documented, names
from tests.support.environment import MASTER_KEY, installed_environment
from tools.bench.long_ledger import fill_ledger, write_project


def test_the_history_says_what_was_live_when_and_whether_it_could_be_again(asked: Asked) -> None:
    rows = ask.history(asked.project, "local", limit=20)

    assert [(row["release"], row["status"]) for row in rows] == [("v0.0.2", "live"), ("v0.0.1", "verified")]
    assert rows[0]["live_to"] is None
    assert rows[1]["live_to"] == rows[0]["live_from"]
    assert (rows[0]["ready"], rows[1]["ready"]) == (None, True)
    assert ask.history(asked.project, "local", limit=1, everything=True)[0]["kind"] == "live"
    assert set(names(rows, into=("missing",))) | {"[].missing[].what", "[].missing[].remedy"} == documented(
        "## history"
    )


def test_a_withdrawn_release_says_so(asked: Asked) -> None:
    digest = asked.releases.locks["v0.0.1"].digest
    asked.environment.ledger.record("withdrawn", lease=None, digest=digest)

    assert ask.history(asked.project, "local", limit=20)[1]["status"] == "withdrawn"


def test_weights_at_a_time_are_those_of_the_shift_then(asked: Asked) -> None:
    ledger, first = asked.environment.ledger, asked.releases.locks["v0.0.1"].digest
    entries = [
        ledger.record("shifted", lease=None, digest=first, details={"share": share, "of": 256})
        for share in (64, 128, 0)
    ]

    def weights(address: str) -> dict[str, int]:
        found = ask.at(asked.project, address)
        return {weight["release"]: weight["share"] for weight in found["weights"]}

    assert weights(f"local@{{{entries[0].at.isoformat()}}}") == {"v0.0.2": 192, "v0.0.1": 64}
    assert weights(f"local#{entries[1].n}") == {"v0.0.2": 128, "v0.0.1": 128}
    assert weights("local") == {"v0.0.2": 256}
    assert weights("local~1") == {"v0.0.1": 256}
    found = ask.at(asked.project, "local")
    assert set(names(found, into=("weights",))) | {"models.KEY"} == documented("## at")


def test_an_answer_of_a_release_without_weight_says_so(asked: Asked) -> None:
    with asked.superuser() as conn:
        for request, tag in (("r1", "v0.0.1"), ("r2", "v0.0.2")):
            conn.execute(
                "INSERT INTO mlops.prediction_log (request_id, release_digest, slot, model, model_version, input,"
                " output, at) VALUES (%s, %s, 'current', 'm', 1, '{}', '{}', clock_timestamp())",
                [request, asked.releases.locks[tag].digest],
            )

    (left,), (live,) = (ask.which_release(asked.project, "local", request) for request in ("r1", "r2"))

    assert (live["share"], live["note"]) == (256, None)
    assert left["share"] == 0
    assert "v0.0.1 had no traffic then" in str(left["note"])
    assert set(names([live])) == documented("## which-release")


def test_an_answer_of_a_model_server_that_serves_no_release_says_so(asked: Asked) -> None:
    with asked.superuser() as conn:
        conn.execute(
            "INSERT INTO mlops.prediction_log (request_id, slot, model, model_version, input, output)"
            " VALUES ('r3', 'next', 'iris', 2, '[]', '[]')"
        )

    (found,) = ask.which_release(asked.project, "local", "r3")

    assert (found["release"], found["digest"], found["share"]) == (None, None, 0)
    assert (found["model"], found["model_version"], found["slot"]) == ("iris", 2, "next")
    assert found["note"] == "a model server answered that serves no release"


def test_an_address_further_back_than_history_says_how_far_one_can_go(asked: Asked) -> None:
    with pytest.raises(NotFoundError, match=r"no live release 2 changes ago; local~1 is the first"):
        ask.at(asked.project, "local~2")


def test_the_status_shows_blocks_and_a_pause_until_another_release_is_live(asked: Asked) -> None:
    ledger, locks = asked.environment.ledger, asked.releases.locks
    ledger.record("block", lease=None, digest=locks["v0.0.1"].digest, reason="prices are wrong")
    pause = {"event": "pause", "release": "v0.0.2", "made": False}
    ledger.record("event", lease=None, actor="ann", reason="paused: v0.0.2 is live in prd", details=pause)
    status = ask.status(asked.project, "local")
    assert {row["release"]: row["blocked"] for row in status["releases"]} == {
        "v0.0.1": "prices are wrong",
        "v0.0.2": None,
    }
    assert status["paused"] == "v0.0.2"
    asked.releases.lock("v0.0.3", State())
    asked.releases.deploy("v0.0.3")
    assert ask.status(asked.project, "local")["paused"] is None


def test_the_status_shows_as_drift_what_does_not_run_as_the_ledger_says(asked: Asked) -> None:
    status = ask.status(asked.project, "local")

    parts = [one["part"] for one in status["drift"]]
    assert "stack config" in parts  # it names no release
    assert status["problem"] is None
    found = set(names(status, into=("releases", "drift")))
    # No process is supervised here, and no release has a model.
    found |= {"drift", "releases[].models.KEY", *(f"processes[].{key}" for key in ("name", "state", "pid"))}
    assert found - {"processes"} == documented("## status")


def test_a_ledger_that_was_cut_off_is_found_by_the_basis_of_stack_config(asked: Asked) -> None:
    with asked.session() as session:
        _render(session)
        basis = session.ledger.head()
    verified = audit.verify_ledger(asked.project, "local")
    assert set(names(verified, into=("anchors",))) == documented("## ledger verify")
    assert verified["anchors"] == [
        {"where": "stacks/Pulumi.local.yaml", "anchor": f"{basis.n}:{basis.hash}", "lost_by": None}
    ]
    _cut_off(asked, basis.n)

    with pytest.raises(MlopsError, match=rf"stacks/Pulumi.local.yaml: entry {basis.n} is not there"):
        audit.verify_ledger(asked.project, "local")


def test_a_ledger_that_was_rewritten_is_found_by_an_attestation(asked: Asked) -> None:
    head = asked.environment.ledger.record("note", lease=None, reason="as it was")
    folder = asked.project.root / "stacks" / "releases"
    _attest(asked, folder / "v0.0.2.local.json", "local", f"{head.n}:{head.hash}")
    _attest(asked, folder / "v0.0.2.stg.json", "stg", f"9:sha256:{'0' * 64}")
    (folder / "plan.json").write_text("{}")
    assert len(audit.verify_ledger(asked.project, "local")["anchors"]) == 1
    _cut_off(asked, head.n)
    forged = asked.environment.ledger.record("note", lease=None, reason="as somebody wants it")

    assert forged.n == head.n
    with pytest.raises(MlopsError, match=rf"v0.0.2.local.json: entry {head.n} has hash"):
        audit.verify_ledger(asked.project, "local")
    # A person says that it is lost, and why: from then on the file says nothing against this ledger.
    said = asked.environment.ledger.record(
        "reconciled", lease=None, reason="a restore", details={"lost_anchors": [f"{head.n}:{head.hash}"]}
    )
    (anchor,) = audit.verify_ledger(asked.project, "local")["anchors"]
    assert anchor["lost_by"] == said.n


def test_the_answers_of_a_long_history_are_those_of_a_short_one(asked: Asked, tmp_path: Path) -> None:
    with installed_environment(asked.environment.database.server) as long:
        commit = write_project(
            tmp_path / "long", app=long.app, conninfo=long.conninfo(), master_key=MASTER_KEY
        )
        with psycopg.connect(long.admin.get_secret_value(), autocommit=True) as conn:
            locks = fill_ledger(conn, app=long.app, commit=commit, entries=2_000)
        project = load_project(tmp_path / "long")

        rows = ask.history(project, "local", limit=5)
        shifting = ask.at(project, "local#4")

        assert long.ledger.verify() == 2_000
        assert [row["release"] for row in rows] == [lock.release for lock in reversed(locks[-5:])]
        assert [row["ready"] for row in rows] == [None, False, False, False, False]
        assert rows[-1]["missing"][0]["what"] == "it is retired: its tables were dropped"
        assert shifting["release"] is None  # nothing was live while the first one was shifted
        assert [(w["release"], w["share"]) for w in ask.at(project, "local#13")["weights"]] == [
            ("v0.0.1", 128),
            ("v0.0.2", 128),
        ]


def _attest(asked: Asked, path: Path, environment: str, head: str) -> None:
    lock = asked.releases.locks["v0.0.2"]
    written = Attestation(
        schema=1,
        digest=lock.digest,
        release=lock.release,
        app=lock.app,
        environment=environment,
        entry=1,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        head=head,
        checks=(),
    )
    path.write_text(format_attestation(written))


def _render(session: Session) -> None:
    """Stack config from the ledger, without dependency environments, which nothing here runs in."""
    from mlops_sdk.stack import config

    pointer, head = session.ledger.pointer(), session.ledger.head()
    assert head is not None
    sections = [
        config.section(session.ledger.lock(binding.digest), binding, environment=Path(".venvs/none"))
        for binding in session.present(pointer.digest)
    ]
    session.stack.config.render(
        sections, live=pointer.digest, basis=config.Basis(entry=head.n, digest=head.hash)
    )


def _cut_off(asked: Asked, n: int) -> None:
    """Take the newest entries away, as somebody with the rights of the ledger's owner can."""
    with asked.superuser() as conn:
        pointer = conn.execute("SELECT entry FROM mlops.pointer").fetchone()
        if pointer and pointer[0] >= n:
            conn.execute("UPDATE mlops.pointer SET digest = NULL, entry = NULL, epoch = 0")
        conn.execute("DELETE FROM mlops.entry WHERE n >= %s", [n])
