"""What docs/ promises is what the code has: commands, options, exit codes, JSON fields, links."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import typer.main

from mlops_sdk import errors
from mlops_sdk.cli.app import app
from mlops_sdk.ledger.entries import KINDS
from mlops_sdk.ledger.lease import Held, Holder
from mlops_sdk.messaging import DeadLetter
from mlops_sdk.registry.webhook_client import Webhook
from mlops_sdk.release.diff import (
    CodeChange,
    DataChange,
    Diff,
    EntryChange,
    ModelChange,
    ParameterChange,
    TableChange,
)
from mlops_sdk.release.event_rules import EventRules
from mlops_sdk.release.lock import LockedModel
from mlops_sdk.release.lock_file import write_lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.doctor.postgres import check_of
from mlops_sdk.rollout.environment.messages import dead_letter_row
from mlops_sdk.rollout.events.make import Made
from mlops_sdk.rollout.events.poll import Polled
from mlops_sdk.rollout.events.react import Reaction
from mlops_sdk.rollout.locking.data_versions import DataStatus
from mlops_sdk.rollout.locking.tags import explain_tag
from mlops_sdk.rollout.plan.explain import plan_data
from mlops_sdk.rollout.plan.facts import Commit, Metric, ResourceChange
from mlops_sdk.rollout.plan.plan import Intent, Plan
from mlops_sdk.rollout.plan.steps import Step
from mlops_sdk.rollout.questions import ask, compare
from mlops_sdk.sql.lineage import Lineage, Node
from mlops_sdk.sql.run import Result
from mlops_sdk.state.loss import TableLoss
from tests.support.documented import DIGEST, NOW, OUTPUT, documented, names
from tests.support.locks import make_lock

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def test_the_fields_of_who_deploys_and_of_a_check_are_documented(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    holder = Holder("ann", "host", 1, NOW)
    held = Held("local", 1, holder, NOW, NOW, in_force=True, backend_pid=None, backend_start=None)

    @contextmanager
    def open_session(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(ledger=SimpleNamespace(connect=nullcontext))

    monkeypatch.setattr(ask, "open_session", open_session)
    monkeypatch.setattr(ask, "current", lambda *_: held)
    answer = ask.lease(Project(root=tmp_path, app="shop"), "local")
    assert set(names(answer)) == documented("## lease show")
    assert set(names([check_of("a check", ok=True, detail="it holds")])) == documented("## doctor")


def test_the_fields_of_dead_letters_are_documented() -> None:
    letter = DeadLetter("7", b"{}", None, "malformed", 1, 0, NOW)
    assert set(names([dead_letter_row(letter)])) == documented("## messages dead list")


def test_the_fields_of_models_in_sql_are_documented() -> None:
    assert set(names([Result("a", "model", "success", 1, 0.1, "").document()])) == documented("## sql run")
    drawn = Lineage((Node("a", "model", "a.sql"),), (("a", "b"),)).document()
    assert set(names(drawn, into=("nodes", "edges"))) == documented("## sql lineage")


def test_the_fields_of_the_status_of_data_are_documented() -> None:
    assert {f"[].{field.name}" for field in fields(DataStatus)} == documented("## data status")


def test_the_fields_of_a_comparison_are_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locks = {name: make_lock(release=name, parameters={"n": name}) for name in ("v0.0.1", "v0.0.2")}

    @contextmanager
    def open_session(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(compare, "open_session", open_session)
    monkeypatch.setattr(compare, "lock_named", lambda _, name: locks[name])
    monkeypatch.setattr(compare, "subjects_between", lambda *_: [{"commit": "c" * 40, "subject": "s"}])
    found, answer = compare.compare(Project(root=tmp_path, app="shop"), "local", "v0.0.1", "v0.0.2")
    assert [change.name for change in found.parameters] == ["n"]
    assert set(names(answer, into=("old", "new", "commits", "added", "removed"))) == documented("## compare")


def test_the_fields_of_an_explained_tag_are_documented(tmp_path: Path) -> None:
    tag = "v1.0.0-ranker-v1"
    releases = tmp_path / "stacks" / "releases"
    releases.mkdir(parents=True)
    (releases / f"{tag}.yaml").write_text(f"release: {tag}\n")
    model = LockedModel(name="movie-ranker", version=1, digest=DIGEST)
    write_lock(releases / f"{tag}.lock.yaml", make_lock(release=tag, models={"ranker": model}))
    answer = explain_tag(Project(root=tmp_path, app="shop", scheme="code-and-model-tags"), tag)
    assert answer["file"] == f"stacks/releases/{tag}.yaml"
    assert answer["release"]["models"] == {"ranker": "movie-ranker version 1"}
    assert answer["after_model_bump"] == {"ranker": "v1.0.0-ranker-v2"}
    assert set(names(answer, into=("release",))) == documented("## tag explain")


def test_the_fields_of_an_event_and_of_polling_are_documented() -> None:
    made = Made("local", "data", "v0.0.2", "f", "v0.0.1", 1, changed=True)
    assert set(Reaction(made, None, None).document()) == documented("## event")
    assert set(Polled((made,), ()).document()) == documented("## event poll")
    registered = {"environment", *(field.name for field in fields(Webhook))}
    assert registered == documented("## event webhook register")


def test_every_fact_of_a_project_is_documented() -> None:
    page = (DOCS / "reference" / "project.md").read_text()
    known = [field.name for field in (*fields(Project), *fields(EventRules)) if field.name != "root"]
    assert [name for name in known if f"| `{name}` |" not in page] == []


def test_the_fields_of_an_outcome_are_documented() -> None:
    assert {field.name for field in fields(Outcome)} == documented("## outcome")
    assert {field.name for field in fields(TableLoss)} == documented("## loss")


def test_the_fields_of_a_plan_and_its_diff_are_documented() -> None:
    diff = Diff(
        code=CodeChange(None, "c", dirty=False, dependencies_changed=False),
        models=(ModelChange("ranker", "added", "movie-ranker", None, 1, None, "d", signature_changed=False),),
        tables=(TableChange("users", "changed", "forked", ("columns",)),),
        parameters=(ParameterChange("k", "changed", 1, 2),),
        entries=(EntryChange("service", None, "a:b"),),
        data=(DataChange("d.csv", "added", None, "0" * 32),),
    )
    plan = plan_data(Plan(Intent.DEPLOY, "local", "v0.0.1", DIGEST, "", 0, diff, ()))

    inner = {
        f"{name}[].{field.name}"
        for name, kind in (("commits", Commit), ("metrics", Metric), ("infrastructure", ResourceChange))
        for field in fields(kind)
    }
    assert (set(plan) - {"commits", "metrics"}) | inner == documented("## plan")
    found = {
        field for part in ("tables", "parameters", "entries", "data") for field in _list_fields(plan, part)
    }
    found |= {f"models[].{field.name}" for field in fields(ModelChange)}
    found |= {"code", *(f"code.{field.name}" for field in fields(CodeChange))}
    assert found == documented("### diff")


def _list_fields(plan: dict[str, Any], part: str) -> set[str]:
    return {f"{part}[].{key}" for key in plan["diff"][part][0]}


@pytest.mark.parametrize("step", get_args(Step), ids=lambda step: step.__name__)
def test_the_fields_of_every_step_are_documented(step: Any) -> None:
    line = next(line for line in OUTPUT.splitlines() if line.startswith(f"| `{step.__name__}` |"))

    assert re.findall(r"`([a-z_]+)`", line) == [field.name for field in fields(step)]


def test_every_command_and_option_is_documented() -> None:
    page = (DOCS / "reference" / "cli.md").read_text()
    for path, command in _commands(typer.main.get_command(app), "mlops"):
        assert f"`{path} " in page, path
        for option in (o for parameter in command.params for o in parameter.opts if o.startswith("--")):
            if option not in ("--help",):
                assert f"`{option}`" in page, f"{path} {option}"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _commands(inner, f"{path} {name}")


def test_every_exit_code_that_a_command_can_end_with_is_documented() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text()
    codes = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.MlopsError)
    }
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}

    assert codes == listed - {0}


def test_every_kind_of_ledger_entry_that_is_explained_exists() -> None:
    page = (DOCS / "explanation" / "ledger.md").read_text()
    explained = {
        kind for line in page.splitlines() if line.startswith("| `") for kind in re.findall(r"`(\w+)`", line)
    }

    assert explained <= set(KINDS)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
