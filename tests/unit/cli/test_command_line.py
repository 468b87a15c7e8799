"""The command line as a person meets it before any environment exists."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_sdk import errors
from mlops_sdk.cli import main

ROOT = Path(__file__).parents[3]


def mlops(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLOPS_")}
    return subprocess.run(
        [sys.executable, "-m", "mlops_sdk.cli", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.mlops]\napp = "shop"\nenvironments = ["local"]\n')
    return tmp_path


def test_help_lists_every_command_and_starts_nothing_heavy() -> None:
    done = mlops("--help")
    for command in (
        "up",
        "down",
        "lock",
        "plan",
        "deploy",
        "promote",
        "rollback",
        "block",
        "unblock",
        "status",
        "history",
        "at",
        "diff",
        "which-release",
        "state",
        "stack",
        "lease",
        "ledger",
        "tag",
        "event",
    ):
        assert f" {command} " in done.stdout
    heavy = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, mlops_sdk, mlops_sdk.cli.app;"
            "heavy = ('mlflow', 'prefect', 'pulumi', 'numpy', 'pandas', 'psycopg', 'sqlalchemy');"
            "print([m for m in heavy if m in sys.modules])",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["deploi"], 2, "No such command"),
        (["deploy"], 2, "either a manifest or a saved plan"),
        (["deploy", "missing.yaml", "--plan", "p.json"], 2, "either a manifest or a saved plan"),
        (["deploy", "--plan", "missing.json"], 6, "no such plan"),
        (["plan"], 2, "Missing argument"),
        (["rollback", "local"], 2, "--message"),
        (["status", "local", "-o", "xml"], 2, "xml"),
        (["status", "local"], 6, "mlops up local"),
        (["status", "lokal"], 6, "did you mean 'local'"),
        (["deploy", "missing.yaml"], 6, "missing.yaml"),
        (["promote", "local", "local"], 5, "the order is local"),
        (["promote", "local", "prd"], 6, "no environment 'prd'"),
        (["block", "v0.0.1"], 2, "--message"),
        (["at", "local@yesterday"], 2, "2.hours.ago"),
        (["event", "model-update", "local", "embedder", "0"], 2, "VERSION"),
        (["event", "data-update", "lokal"], 6, "did you mean 'local'"),
        (["event", "code-update", "local", "HEAD"], 6, "no git checkout"),
        (["event", "webhook", "register", "local", "ftp://x"], 2, "http://HOST:PORT"),
        (["doctor", "local", "--dry-run"], 2, "--dry-run belongs to --reconcile"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_ends_with_its_exit_code_and_says_what_to_do(
    project: Path, arguments: list[str], code: int, says: str
) -> None:
    done = mlops(*arguments, folder=project)

    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_of_a_project_the_error_says_what_is_missing(tmp_path: Path) -> None:
    done = mlops("status", "local", folder=tmp_path)

    assert done.returncode == 6
    assert "[tool.mlops]" in done.stderr


def test_every_error_has_the_exit_code_that_its_module_promises() -> None:
    tree = errors.__doc__ or ""
    for line in tree.splitlines():
        words = line.strip(" ├└─│").split()
        if len(words) >= 2 and words[1].isdigit() and hasattr(errors, words[0]):
            assert getattr(errors, words[0]).exit_code == int(words[1]), words[0]
    assert "LeaseHeldError 22" in tree


def test_a_tag_is_explained_in_the_project_s_scheme(project: Path) -> None:
    facts = project / "pyproject.toml"
    facts.write_text(facts.read_text() + 'scheme = "code-and-model-tags"\n')
    done = mlops("tag", "explain", "v1.2.3-embedder-v7-rc2", folder=project)
    assert done.stdout.splitlines() == [
        "v1.2.3-embedder-v7-rc2: scheme code-and-model-tags",
        "  code       1.2.3",
        "  model      embedder version 7",
        "  goes to    staging, as candidate 2",
        "  new model  a new tag on the same commit",
        "             v1.2.3-embedder-v8 for the next embedder",
        "  lock       none here",
    ]
    wrong = mlops("tag", "explain", "v1.2.3", folder=project)
    assert wrong.returncode == errors.InputError.exit_code
    assert "write vX.Y.Z-KEY-vN for each model" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mlops status lo", ["local"]),
        ("mlops plan x.yaml -e lo", ["local"]),
        ("mlops verify local v0.0.", ["v0.0.1", "v0.0.2"]),
    ],
)
def test_the_shell_is_offered_environments_and_releases(words: str, offered: list[str]) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "_MLOPS_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split()) - 1)
    command = [sys.executable, "-m", "mlops_sdk.cli"]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)

    assert set(done.stdout.split()) >= set(offered), done.stderr


def _tree(kind: type[errors.MlopsError]) -> Iterator[type[errors.MlopsError]]:
    yield kind
    for inner in kind.__subclasses__():
        if inner.__module__ == errors.__name__:
            yield from _tree(inner)


@pytest.mark.parametrize("kind", [*_tree(errors.MlopsError)], ids=lambda kind: kind.__name__)
def test_every_error_ends_a_command_with_its_code_a_sentence_and_no_traceback(
    kind: type[errors.MlopsError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*_: object) -> None:
        fault = errors.Fault("a.yaml", 3, "release", "wrong", "write another")
        raise kind([fault]) if kind is errors.ManifestError else kind("wrong", remedy="write another")

    monkeypatch.setattr("mlops_sdk.rollout.questions.ask.status", ask)
    monkeypatch.setattr(sys, "argv", ["mlops", "status", "local"])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main()

    seen = capsys.readouterr()
    assert (ended.value.code, seen.out) == (kind.exit_code, "")
    assert seen.err.startswith("error: ")
    assert "write another" in seen.err
    assert "Traceback" not in seen.err
