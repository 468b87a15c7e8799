"""What each command prints, in each of its forms: compared with files, renewed by `pytest --update-golden`.

The answers are made up here; that they are what servers say is shown where the answers are made.
"""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from mlops_sdk.cli.app import app
from mlops_sdk.release.attestation import Attestation
from mlops_sdk.release.diff import CodeChange, Diff, EntryChange, ModelChange, ParameterChange, TableChange
from mlops_sdk.release.project import Project
from mlops_sdk.release.versioned_data import LockedData
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.people import Variables
from mlops_sdk.rollout.events.make import Made
from mlops_sdk.rollout.events.poll import Polled
from mlops_sdk.rollout.events.react import Reaction
from mlops_sdk.rollout.locking.data_versions import DataStatus
from mlops_sdk.rollout.plan.facts import Commit, Facts, LastBuild, Metric, ResourceChange
from mlops_sdk.rollout.plan.plan import Intent, Plan
from mlops_sdk.rollout.plan.steps import Bind, Build, Handover, Shift, Up, Verify
from mlops_sdk.sql.formatting import Formatted
from mlops_sdk.sql.lineage import Lineage, Node
from mlops_sdk.sql.run import Result
from mlops_sdk.state.loss import TableLoss
from tests.support.documented import DIGEST
from tests.support.locks import make_lock

GOLDEN = Path(__file__).parent / "golden"
TIME = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Case:
    """A command line, and what functions of the SDK answer in it (`module:name`, below mlops_sdk)."""

    command: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    code: int = 0
    forms: tuple[str, ...] = ("table", "json", "yaml")


VARIABLES = Variables({"MLOPS_ENVIRONMENT": "local"}, ("MLOPS_SOURCE_URL",))
SECRETS = [{"name": "masterKey", "set": True, "what": "what every role's password is derived from"}]
OUTCOME = Outcome("local", "v0.0.2", DIGEST, "v0.0.1", 12, True, 8.31)
CHECKS = [
    {"name": "ready", "ok": True, "detail": "HTTP 200"},
    {"name": "error rate", "ok": False, "detail": "12 of 20 requests failed, 5.00% may"},
]
DEAD_LETTERS = [
    {
        "id": "7",
        "message": "00000000-0000-0000-0000-000000000007",
        "kind": "job",
        "run_date": "2026-01-31",
        "release": "v0.0.2",
        "ordering_key": None,
        "bytes": 212,
        "attempts": 5,
        "replays": 0,
        "dead_since": TIME,
        "cause": "ValueError: no such customer (scores.py:41)",
    },
    {
        "id": "9",
        "message": None,
        "kind": None,
        "run_date": None,
        "release": None,
        "ordering_key": None,
        "bytes": 2,
        "attempts": 1,
        "replays": 1,
        "dead_since": TIME,
        "cause": "malformed: `schema` is not 1",
    },
]
REPLAYED = {"environment": "local", "queue": "mlops_events", "replayed": ["7"]}
DIFF = Diff(
    code=CodeChange("a" * 40, "b" * 40, dirty=False, dependencies_changed=True),
    models=(
        ModelChange(
            "ranker",
            "changed",
            "movie-ranker",
            1,
            2,
            DIGEST,
            DIGEST,
            True,
            ("inputs: + budget (double)",),
        ),
    ),
    tables=(TableChange("content", "changed", "derived", ("builder's code",)),),
    parameters=(ParameterChange("candidates", "changed", 100, 200),),
    entries=(EntryChange("service", "a:b", "a:c"),),
)
PLAN = Plan(
    intent=Intent.DEPLOY,
    environment="local",
    release="v0.0.2",
    digest=DIGEST,
    live="v0.0.1",
    head=11,
    diff=DIFF,
    steps=(
        Bind("v0.0.2", DIGEST),
        Build("content", "f" * 26),
        Up("v0.0.2", DIGEST),
        Verify("v0.0.2", DIGEST),
        Shift("v0.0.2", DIGEST, "v0.0.1", 25, 64, 60.0, None),
        Handover("v0.0.2", DIGEST, "v0.0.1", ""),
    ),
    facts=Facts(
        commits=(Commit("c" * 40, "Rank by price", added=True),),
        metrics=(Metric("ranker", "ndcg", 0.4, 0.42),),
        last_builds={"content": LastBuild(75.0, 3201)},
        infrastructure=(
            ResourceChange("create", "mlops:index:Process", "service-1", (), own=True),
            ResourceChange("update", "mlops:index:Process", "mlflow", ("command",), own=False),
        ),
        unknown=("times: Postgres rests",),
    ),
)
STATUS = {
    "environment": "local",
    "problem": None,
    "live": "v0.0.2",
    "digest": DIGEST,
    "entry": 12,
    "hold": "rollback: it was slow",
    "deployer": None,
    "drift": [
        {"part": "service", "where": "v0.0.1", "what": "it does not answer", "remedy": "`mlops up local`"}
    ],
    "addresses": {"router": "http://127.0.0.1:1"},
    "releases": [
        {
            "release": "v0.0.2",
            "digest": DIGEST,
            "slot": "current",
            "service": "ready",
            "port": 4001,
            "pg_schema": "rel_shop_000002_aaaaaaaa",
            "models": {"ranker": "movie-ranker 2"},
            "blocked": None,
        }
    ],
    "processes": [{"name": "postgres", "state": "RUNNING", "pid": 7}],
    "paused": None,
}
HISTORY = [
    {
        "n": 12,
        "kind": "live",
        "release": "v0.0.2",
        "digest": DIGEST,
        "status": "live",
        "live_from": TIME,
        "live_to": None,
        "by": "ann",
        "reason": "better\nand faster",
        "rollback_of": None,
        "ready": True,
        "why_not": [],
        "first": [],
    },
    {
        "n": 4,
        "kind": "live",
        "release": "v0.0.1",
        "digest": DIGEST,
        "status": "verified",
        "live_from": TIME,
        "live_to": TIME,
        "by": "bob",
        "reason": "",
        "rollback_of": "v0.0.0",
        "ready": True,
        "why_not": [],
        "first": ["its service is started"],
    },
]
AT = {
    "address": "local~1",
    "environment": "local",
    "release": "v0.0.1",
    "digest": DIGEST,
    "n": 4,
    "live_from": TIME,
    "by": "ann",
    "commit": "c" * 40,
    "pg_schema": "rel_shop_000001_aaaaaaaa",
    "models": {"ranker": "movie-ranker 1"},
    "weights": [
        {"release": "v0.0.1", "digest": DIGEST, "share": 192, "of": 256},
        {"release": "v0.0.2", "digest": DIGEST, "share": 64, "of": 256},
    ],
}
MADE = Made(
    "local", "model-update ranker 2", "v0.0.3", "stacks/releases/v0.0.3.yaml", "v0.0.2", 14, changed=True
)
LOSS = TableLoss(
    table="drafts", kind="forked", policy="discard", written=3, lost=2, keys=({"draft_id": 7},), columns=(),
    note="listed, not carried",
)  # fmt: skip
ATTESTATION = Attestation.from_document(
    {
        "schema": 1,
        "digest": DIGEST,
        "release": "v0.0.2",
        "app": "shop",
        "environment": "stg",
        "entry": 11,
        "at": TIME,
        "head": f"12:{DIGEST}",
        "checks": CHECKS[:1],
    }
)


class _Rollback:
    """A rollback that loses rows, and goes well."""

    losses = object()
    loses_rows = True

    @classmethod
    @contextmanager
    def begin(cls, *_: Any, **__: Any) -> Iterator["_Rollback"]:
        yield cls()

    def preview_lines(self) -> list[str]:
        return ["rollback from v0.0.2 to v0.0.1: what v0.0.2 wrote"]

    def loss_document(self) -> list[dict[str, Any]]:
        return [vars(LOSS) | {"keys": list(LOSS.keys), "columns": list(LOSS.columns)}]

    def first(self) -> list[str]:
        return ["its service is started"]

    def apply(self) -> Outcome:
        return OUTCOME


class _Reconciliation:
    """A reconciliation that finds one thing and leaves nothing."""

    found = ("one",)

    @classmethod
    @contextmanager
    def begin(cls, *_: Any, **__: Any) -> Iterator["_Reconciliation"]:
        yield cls()

    def apply(self) -> None:
        return

    def document(self) -> dict[str, Any]:
        one = {"with": "router", "what": "it leads to v0.0.2", "repair": "point it to v0.0.1", "remedy": ""}
        return {"environment": "local", "found": [one], "left": [], "lost": [], "entry": 15}


class _Stack:
    """A stack that tells its variables."""

    def __init__(self, project: Project, *_: Any, **__: Any) -> None:
        self.config = SimpleNamespace(path=project.root / "stacks" / "Pulumi.local.yaml")

    def init(self) -> None:
        return

    def env_vars(self) -> dict[str, str]:
        return {"PULUMI_BACKEND_URL": "file:///tmp/a b", "PATH": "/bin"}


@contextmanager
def _session(*_: Any, **__: Any) -> Iterator[Any]:
    yield SimpleNamespace(
        end_hold=lambda _: "rollback: it was slow",
        break_lease=lambda _: "ann on host (pid 7)",
        render_config=lambda: True,
        stack=SimpleNamespace(config=SimpleNamespace(path=Path("/project/stacks/Pulumi.local.yaml"))),
    )


def says(value: Any) -> Any:
    """A function that answers `value` whatever it is asked."""
    return lambda *_, **__: value


COMPARED = (
    DIFF,
    {
        "old": {"release": "v0.0.1", "digest": DIGEST},
        "new": {"release": "v0.0.2", "digest": DIGEST},
        "diff": {},
        "commits": {"added": [{"commit": "c" * 40, "subject": "Rank by price"}], "removed": []},
    },
)
KEPT = {
    "environment": "local",
    "releases": [
        {
            "release": "v0.0.1",
            "digest": DIGEST,
            "slot": "current",
            "status": "cut",
            "pins": ["an audit"],
            "pg_schema": "rel_x",
            "own_bytes": 8192,
            "shared_bytes": 3_000_000,
            "tables": [
                {
                    "table": "users",
                    "kind": "forked",
                    "physical": "rel_x.users",
                    "state": "following",
                    "rows": 10,
                    "bytes": 8192,
                    "shared_with": 0,
                }
            ],
        }
    ],
    "totals": {"kept": 8192, "shared": 3_000_000},
}
COLLECTED = {
    "environment": "local",
    "dropped": [{"kind": "release", "name": "v0.0.1", "bytes": 8192}],
    "left": [{"kind": "log", "name": "log_users", "why": "a fork follows"}],
    "orphans": [{"kind": "role", "name": "rel_y"}],
}
ERASED = {
    "environment": "local",
    "table": "users",
    "rows": 3,
    "dry_run": False,
    "entry": 16,
    "erased": [{"place": "v0.0.1", "table": "users", "rows": 3}],
    "notes": ["backups still hold them"],
}
EXPLAINED = {
    "table": "content",
    "release": "v0.0.2",
    "fingerprint": "f" * 26,
    "inputs": {"builder.digest": "sha256:1", "parameters.size": 8},
    "against": None,
    "differences": [],
}
TAG = {
    "tag": "v0.0.2",
    "scheme": "deployment-manager",
    "code": "release number 2",
    "models": {},
    "candidate": None,
    "stage": "production",
    "model_bump": "the next number",
    "after_model_bump": {"": "v0.0.3"},
    "file": "stacks/releases/v0.0.2.yaml",
    "release": {"digest": DIGEST, "commit": "c" * 40, "models": {"ranker": "movie-ranker version 2"}},
}
WHICH = [
    {
        "at": TIME,
        "release": "v0.0.2",
        "digest": DIGEST,
        "slot": "next",
        "model": "ranker",
        "model_version": 2,
        "live": "v0.0.1",
        "share": 64,
        "of": 256,
        "note": None,
    }
]
HELD = {"who": "ann", "host": "h", "pid": 7, "since": TIME, "until": TIME, "epoch": 3}
DUTY = {
    "name": "gc",
    "does": "drops what nobody needs",
    "period_s": 300,
    "running": False,
    "runs": 2,
    "began_at": TIME,
    "duration_s": 0.1,
    "did": "nothing to drop",
    "problems": [],
    "failures": 0,
    "error": None,
    "error_at": None,
}
VERIFIED = {
    "environment": "local", "entries": 12, "head": f"12:{DIGEST}", "head_at": TIME, "anchor": None,
    "anchors": [{"where": "stacks/Pulumi.local.yaml", "anchor": f"11:{DIGEST}", "lost_by": None}],
}  # fmt: skip
PIN = {"environment": "local", "release": "v0.0.1", "digest": DIGEST}
BLOCKED = {**PIN, "changed": True, "reason": "it leaks", "live": True}
WEBHOOK = {
    "environment": "local", "name": "mlops-shop-local", "url": "http://127.0.0.1:1/events/mlflow",
    "webhook_id": "w1", "created": True,
}  # fmt: skip
REVERIFIED = {
    "environment": "local",
    "release": "v0.0.2",
    "digest": DIGEST,
    "ok": False,
    "checks": CHECKS,
    "entry": 13,
}
DOCTOR = [
    {"check": "ledger: hash chain", "ok": True, "detail": "12 entries", "remedy": ""},
    {"check": "router", "ok": False, "detail": "it leads to v0.0.1", "remedy": "`mlops up local`"},
]
DATA = LockedData(md5="1" * 32, size=21)
DATA_STATUS = [
    DataStatus("d.csv", DATA.md5, 21, 1, committed=True, here=True, cached=True, pushed=False),
    DataStatus("posters", "2" * 32 + ".dir", 4_000, 12, False, False, False, None, "it does not answer"),
]
REACT = {"rollout.events.react:react": says(Reaction(MADE, "d" * 40, OUTCOME))}

RESULTS = [
    Result("rfm_daily", "model", "success", 2357, 0.25, "SELECT 2357"),
    Result("unique_rfm_daily_customer_id", "test", "pass", None, 0.125, ""),
]
LINEAGE = Lineage(
    (Node("release.purchases", "source"), Node("rfm_daily", "model", "models/daily/rfm_daily.sql")),
    (("release.purchases", "rfm_daily"),),
)
FORMATTED = Formatted(9, (Path("rfm/dbt/models/daily/rfm_daily.sql"),))

CASES = {
    case.command: case
    for case in (
        Case("up local", {"rollout.environment.bring_up:bring_up": says({"router": "http://127.0.0.1:1"})}),
        Case("down local", {"rollout.environment.bring_up:stop": says(3)}),
        Case(
            "lock stacks/releases/v0.0.2.yaml", {"rollout.locking.lock:lock_manifest": says(make_lock("v0.0.2"))}
        ),
        Case(
            "plan stacks/releases/v0.0.2.yaml",
            {"rollout.deploy.planning:plan_deploy": says(PLAN)},
            forms=("table", "json", "yaml", "markdown"),
        ),
        Case("deploy stacks/releases/v0.0.2.yaml", {"rollout.deploy.deploy:deploy": says(OUTCOME)}),
        Case("verify local", {"rollout.verify.reverify:reverify": says(REVERIFIED)}, code=1),
        Case("promote local local", {"rollout.promote.promote:promote": says(OUTCOME)}),
        Case("rollback local -m slow --yes", {"rollout.deploy.rollback:Rollback": _Rollback}),
        Case("resume local", {"rollout.environment.opening:open_session": _session}),
        Case("block v0.0.1 -m leaks", {"rollout.promote.blocks:block": says(BLOCKED)}),
        Case("unblock v0.0.1", {"rollout.promote.blocks:unblock": says({**PIN, "ended": "it leaks"})}),
        Case("status local", {"rollout.questions.ask:status": says(STATUS)}),
        Case("history local", {"rollout.questions.ask:history": says(HISTORY)}),
        Case("at local~1", {"rollout.questions.ask:at": says(AT)}),
        Case("diff v0.0.1 v0.0.2", {"rollout.questions.compare:compare": says(COMPARED)}),
        Case("which-release r1", {"rollout.questions.ask:which_release": says(WHICH)}),
        Case("env local --host", {"rollout.environment.people:environment_variables": says(VARIABLES)}),
        Case("secrets ls local", {"rollout.environment.people:secrets": says(SECRETS)}),
        Case("image ref job", {"platform.git:commit_of": says("c" * 40)}),
        Case("doctor local", {"rollout.doctor.checks:doctor": says(DOCTOR)}, code=1),
        Case(
            "doctor local --reconcile -m restored --yes",
            {"rollout.doctor.reconciling:Reconciliation": _Reconciliation},
        ),
        Case("state explain content", {"rollout.questions.inputs:explain_table": says(EXPLAINED)}),
        Case("state ls local", {"rollout.environment.keep:tables": says(KEPT)}),
        Case("state gc local", {"rollout.environment.keep:collect": says(COLLECTED)}),
        Case("state pin v0.0.1 -m audit", {"rollout.environment.keep:pin": says({**PIN, "reason": "audit"})}),
        Case("state unpin v0.0.1", {"rollout.environment.keep:unpin": says({**PIN, "ended": ["an audit"]})}),
        Case("state erase users 7 --yes", {"rollout.environment.keep:erase": says(ERASED)}),
        Case("stack init local", {"stack.drive:Stack": _Stack}),
        Case("stack env local", {"stack.drive:Stack": _Stack}),
        Case("stack sync local", {"rollout.environment.opening:open_session": _session}),
        Case("lease show local", {"rollout.questions.ask:lease": says(HELD)}),
        Case("lease break local -m gone", {"rollout.environment.opening:open_session": _session}),
        Case("ledger verify local", {"rollout.doctor.audit:verify_ledger": says(VERIFIED)}),
        Case("ledger attest local", {"rollout.promote.attest:attest": says(ATTESTATION)}),
        Case("data add d.csv", {"rollout.locking.data_versions:add": says({"d.csv": DATA})}),
        Case("data push d.csv", {"rollout.locking.data_versions:push": says(({"d.csv": DATA}, 3))}),
        Case("data pull d.csv", {"rollout.locking.data_versions:pull": says(({"d.csv": DATA}, 0))}),
        Case("data status d.csv", {"rollout.locking.data_versions:status": says(DATA_STATUS)}),
        Case("messages dead list local", {"rollout.environment.messages:dead_letters": says(DEAD_LETTERS)}),
        Case(
            "messages dead list local --limit 2",
            {"rollout.environment.messages:dead_letters": says(DEAD_LETTERS)},
            forms=("table",),
        ),
        Case("messages dead replay local 7", {"rollout.environment.messages:replay": says(REPLAYED)}),
        Case("sql run rfm/dbt --run-date 1998-03-31", {"workload.sql_try:try_models": says(RESULTS)}),
        Case("sql test rfm/dbt --run-date 1998-03-31", {"workload.sql_try:try_models": says(RESULTS)}),
        Case("sql docs rfm/dbt", {"sql.docs:write_docs": says(Path(".mlops/sql/docs/index.html"))}),
        Case("sql lineage rfm/dbt", {"sql.project:read_project": says(None), "sql.lineage:lineage": says(LINEAGE)}),
        Case("sql fmt rfm/dbt", {"sql.formatting:format_project": says(FORMATTED)}),
        Case("sql fmt rfm/dbt --check", {"sql.formatting:format_project": says(FORMATTED)}, code=7),
        Case("tag explain v0.0.2", {"rollout.locking.tags:explain_tag": says(TAG)}),
        Case(
            "agent run gc local",
            {
                "rollout.agent.serve:run_once": says(
                    SimpleNamespace(what="nothing to drop", more=False, problems=())
                )
            },
        ),
        Case("agent duties local", {"rollout.agent.serve:known_states": says([DUTY])}),
        Case("event code-update local HEAD", {**REACT, "rollout.events.make:code_update": says(None)}),
        Case("event model-update local ranker 2", REACT),
        Case("event data-update local", REACT),
        Case("event poll local", {"rollout.events.poll:poll": says(Polled((MADE,), ("a hold stands",), None))}),
        Case("event webhook register local http://127.0.0.1:1", {"rollout.events.serve:register": says(WEBHOOK)}),
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "form"),
    [(case, form) for case in CASES.values() for form in case.forms],
    ids=[f"{case.command} -o {form}" for case in CASES.values() for form in case.forms],
)
def test_a_command_prints_what_it_always_printed(
    case: Case, form: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    project = Project(root=tmp_path, app="shop", image_repository="hub/shop", environments=("local",))
    monkeypatch.setattr("mlops_sdk.release.project.load_project", lambda *_: project)
    for name, answer in case.answers.items():
        module, _, attribute = name.partition(":")
        monkeypatch.setattr(importlib.import_module(f"mlops_sdk.{module}"), attribute, answer)

    done = CliRunner().invoke(app, [*case.command.split(), "-o", form], prog_name="mlops")

    assert done.exit_code == case.code, (done.output, done.exception)
    words = "_".join(word for word in case.command.replace("--", "").split() if word[0].isalpha())
    path = GOLDEN / f"{words.replace('/', '.')}.{form}.txt"
    if request.config.getoption("--update-golden"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(done.stdout, encoding="utf-8")
    assert done.stdout == path.read_text(encoding="utf-8")
    assert "\x1b" not in done.stdout


def test_every_command_that_prints_a_result_has_its_forms_compared() -> None:
    known = {" ".join(word for word in command.split()) for command in CASES}
    for path in _with_forms(typer.main.get_command(app), ""):
        assert any(command.startswith(f"{path} ") for command in known), path


def _with_forms(command: Any, path: str) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_forms(inner, f"{path} {name}".strip())
    if not hasattr(command, "commands") and any("-o" in p.opts for p in command.params):
        yield path
