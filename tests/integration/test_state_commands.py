"""`mlops state …` as a person types it, on a real Postgres, without a platform around it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_sdk.cli.app import app
from mlops_sdk.ledger.database import connect
from mlops_sdk.platform.psql import find_psql
from mlops_sdk.release.project import load_project
from mlops_sdk.stack.drive import Stack
from mlops_sdk.state import Forked, State, references
from mlops_sdk.state import connect as connect_release
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.settings_files import write_settings
from tests.support.tables import metadata, users

ROOT = Path(__file__).parents[2]


@pytest.fixture
def releases(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """Two releases with a forked table, and a project folder whose environment is this database."""
    (tmp_path / "pyproject.toml").write_text('[tool.mlops]\napp = "shop"\nenvironments = ["local"]\n')
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.local.yaml").write_text("config: {}\n")
    write_settings(environment, tmp_path / ".mlops" / "local", tmp_path, app="shop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Stack, "heal", lambda _, **__: [])  # there is no engine here
    found = Releases(environment, tmp_path)
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        found.lock(tag, State(Forked(users(metadata()))), service=f"a.s{number}:a")
        found.deploy(tag)
    with found.connect("v0.0.2") as service:
        service.execute("INSERT INTO users (user_id) VALUES (4711)")
    return found


def run(*arguments: str, answer: str | None = None) -> str:
    done = CliRunner().invoke(app, ["state", *arguments], input=answer, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_release_is_pinned_looked_at_given_up_and_dropped(releases: Releases) -> None:
    assert "v0.0.1 is pinned in local: an audit" in run("pin", "v0.0.1", "-m", "an audit")
    references.unreference(releases.conninfo, "local", releases.locks["v0.0.1"].digest, lease=None)
    listed = run("ls", "local")
    assert "v0.0.2 (current, cut): " in listed
    assert "v0.0.1 (-, unreferenced, pinned: an audit): " in listed
    assert "left release v0.0.1: it is pinned: an audit" in run("gc", "local", "--dry-run")
    assert "is no longer pinned: an audit" in run("unpin", "local~1", "-m", "audited")
    shown: dict[str, Any] = json.loads(run("gc", "local", "--dry-run", "-o", "json"))
    done: dict[str, Any] = json.loads(run("gc", "local", "-o", "json"))
    assert [item["name"] for item in done["dropped"]] == ["v0.0.1"]
    assert shown | {"dry_run": False} == done
    assert run("gc", "local") == "local: nothing to drop\n"


def test_psql_opens_on_a_release_and_ends_with_its_own_exit_code(releases: Releases) -> None:
    command = [sys.executable, "-m", "mlops_sdk.cli", "state", "shell"]

    def shell(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, *arguments], input=text, env=environ, capture_output=True, text=True, check=False
        )

    live = shell("-c", "SELECT current_user, count(*) FROM users")
    assert live.stdout.splitlines()[2].split() == ["sdk_reader", "|", "1"], live.stderr
    schema = releases.bind("v0.0.1").pg_schema
    earlier = shell("local~1", text="SELECT current_schema;\nDELETE FROM users;\nSELECT 'on';\n")
    assert (schema in earlier.stdout, "on" in earlier.stdout.split()) == (True, False)
    assert "read-only transaction" in earlier.stderr
    assert earlier.returncode == 3  # psql's, for a script that failed
    with connect_release("v0.0.1", project=load_project()) as conn:
        assert conn.execute("SELECT current_schema").fetchone() == (schema,)


def test_without_psql_on_the_path_that_of_the_local_platform_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = subprocess.run([find_psql(), "--version"], capture_output=True, text=True, check=True)
    assert "(PostgreSQL) 18" in found.stdout


def test_a_person_is_erased_after_a_question_and_not_without_an_answer(releases: Releases) -> None:
    count = "SELECT count(*) FROM users"
    refused = CliRunner().invoke(app, ["state", "erase", "users", "4711"], input="n\n")
    assert refused.exit_code != 0
    assert "4711" not in refused.output
    with connect_release(project=load_project()) as conn:
        assert conn.execute(count).fetchone() == (1,)
        answer = json.loads(run("erase", "users", "-", "-y", "-m", "asked", "-o", "json", answer="4711\n"))
        assert (answer["rows"], answer["dry_run"]) == (2, False)  # the row, and its key in the log
        assert conn.execute(count).fetchone() == (0,)
    with connect(releases.conninfo) as conn:
        kinds = conn.execute("SELECT kind FROM mlops.entry ORDER BY n DESC LIMIT 1").fetchone()
    assert kinds == ("erased",)
