"""Runs dbt in a child process on a copy of a project, and reads what it found.

The password is in the child's environment and nowhere else; the profile says only where to take it. dbt sends nothing
to anybody: no statistics, no question for a newer version. It must not decide what the tables are for.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mlops_sdk.errors import InputError, MlopsError

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "SSL_CERT_FILE")
_PASSWORD = "DBT_ENV_SECRET_MLOPS_PASSWORD"  # noqa: S105 - a name; dbt hides the values of such in its logs
_QUIET = ("--no-use-colors", "--no-send-anonymous-usage-stats", "--no-version-check")
_COMPILED = re.compile(r"\s*compiled code at \S+")  # in a folder that is gone when somebody reads it
_CLOCK = re.compile(r"^\d\d:\d\d:\d\d\s*")
_GOOD = ("success", "pass", "no-op", "warn")
_PROFILE = """\
mlops:
  target: mlops
  outputs:
    mlops:
      type: postgres
      host: "{{ env_var('MLOPS_SQL_HOST') }}"
      port: "{{ env_var('MLOPS_SQL_PORT') | as_number }}"
      user: "{{ env_var('MLOPS_SQL_USER') }}"
      password: "{{ env_var('DBT_ENV_SECRET_MLOPS_PASSWORD') }}"
      dbname: "{{ env_var('MLOPS_SQL_DATABASE') }}"
      schema: "{{ env_var('MLOPS_SQL_SCHEMA') }}"
      role: "{{ env_var('MLOPS_SQL_ROLE', '') }}"
      application_name: "{{ env_var('MLOPS_SQL_APPLICATION') }}"
      threads: 4
      retries: 0
"""


def dbt_versions() -> dict[str, str]:
    """The versions of what turns a model into SQL. Raises InputError where dbt is not installed."""
    try:
        return {name: version(name) for name in ("dbt-adapters", "dbt-core", "dbt-postgres")}
    except PackageNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed here", remedy="install the extra: pip install 'mlops-sdk[sql]'"
        ) from error


class SqlError(MlopsError):
    """A model or a test of a dbt project failed."""


@dataclass(frozen=True)
class Target:
    """Where dbt works: as `user`, which becomes `role` if there is one, in schema `schema`.

    `options` are libpq's, such as `-c statement_timeout=0`.
    """

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    schema: str
    role: str = ""
    options: str = ""
    application: str = "mlops sql"

    def environ(self) -> dict[str, str]:
        """The variables that the profile reads. They hold the password."""
        return {
            "MLOPS_SQL_HOST": self.host,
            "MLOPS_SQL_PORT": str(self.port),
            "MLOPS_SQL_DATABASE": self.database,
            "MLOPS_SQL_USER": self.user,
            "MLOPS_SQL_SCHEMA": self.schema,
            "MLOPS_SQL_ROLE": self.role,
            "MLOPS_SQL_APPLICATION": self.application,
            "PGOPTIONS": self.options,
            _PASSWORD: self.password.get_secret_value(),
        }


NOWHERE = Target("127.0.0.1", 1, "none", "none", SecretStr("none"), "none")  # for what needs no database


@dataclass(frozen=True)
class Result:
    """What became of a model or a test. `rows` is how many it wrote, None where Postgres does not say."""

    name: str
    kind: str
    status: str
    rows: int | None
    seconds: float
    message: str

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status in _GOOD

    def document(self) -> dict[str, Any]:
        """It as JSON values."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def run(
    project: Path,
    target: Target,
    command: Sequence[str],
    *,
    variables: Mapping[str, Any] | None = None,
    build: bool = False,
    keep: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Result]:
    """Run a command of dbt, such as `["build", "--select", "scores"]`, and return what became of each node.

    With `build` a model is inserted into the table that stands for it, else it is made as its own configuration
    says. `keep` is a folder for dbt's artefacts (run_results.json, manifest.json, ...). Raises SqlError with the
    faults of all nodes that failed, InputError for a project that cannot be parsed, or without dbt.
    """
    dbt_versions()
    with workspace(project, build=build) as folder:
        # What was parsed is gone with the folder: nothing is there to be read, and nobody will read it.
        lines, code = dbt(folder, target, [*command, "--no-partial-parse"], variables or {}, report)
        found = _results(folder / "target")
        if keep is not None:
            _keep(folder / "target", keep)
        failed = [result for result in found if not result.good]
        if failed:
            raise _failed(project, failed)
        if code != 0:
            raise ended(project, command, lines)
    return found


def ended(project: Path, command: Sequence[str], lines: Sequence[str]) -> InputError:
    """dbt ended without saying which model failed: what it said last."""
    said = "\n".join(f"  {line}" for line in lines[-12:])
    return InputError(f"dbt {command[0]} failed:\n{said}", where=str(project), remedy="mend the project")


@contextmanager
def workspace(project: Path, *, build: bool) -> Iterator[Path]:
    """A copy of the project with the SDK's macros and profile: the checkout may be read-only, and others use it."""
    with tempfile.TemporaryDirectory(prefix="mlops-sql-") as temporary:
        folder = Path(temporary) / "project"
        shutil.copytree(
            project,
            folder,
            # At the top alone: models may be in a folder of that name.
            ignore=lambda of, _: {"target", "logs", ".user.yml"} if Path(of) == project else set(),
        )
        macros = folder / "macros" / "mlops_sdk"
        macros.mkdir(parents=True)
        for name in ("mlops.sql", *(["build.sql"] if build else [])):
            text = files("mlops_sdk.sql").joinpath("macros", name).read_text(encoding="utf-8")
            (macros / name).write_text(text, encoding="utf-8")
        (folder / "profiles.yml").write_text(_PROFILE, encoding="utf-8")
        yield folder


def dbt(
    folder: Path,
    target: Target,
    command: Sequence[str],
    variables: Mapping[str, Any],
    report: Callable[[str], None] | None,
) -> tuple[list[str], int]:
    """Run dbt; the lines that it printed, and its exit code."""
    environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    arguments = [*_QUIET, *command, "--profile", "mlops", "--vars", json.dumps(dict(variables))]
    places = {"--project-dir": folder, "--profiles-dir": folder, "--target-path": folder / "target"}
    lines: list[str] = []
    with subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "mlops_sdk.sql.child", str(os.getpid())),
            *arguments,
            *(str(word) for pair in {**places, "--log-path": folder / "logs"}.items() for word in pair),
        ],
        cwd=folder,
        env={**environ, **target.environ(), "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = _CLOCK.sub("", line.rstrip()).replace(str(folder), ".")
            if said:
                lines.append(said)
                if report is not None:
                    report(said)
    return lines, child.returncode


def _results(folder: Path) -> list[Result]:
    path = folder / "run_results.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [_result(each) for each in found]


def _result(each: Mapping[str, Any]) -> Result:
    kind, _, name = each["unique_id"].split(".", 2)
    rows = (each.get("adapter_response") or {}).get("rows_affected", -1)
    return Result(
        # A test has a hash behind its name.
        name=name.rpartition(".")[0] if kind == "test" and "." in name else name,
        kind=kind,
        status=each["status"],
        rows=rows if kind == "model" and rows >= 0 else None,
        seconds=float(each["execution_time"]),
        message=_COMPILED.sub("", str(each.get("message") or "")),
    )


def _keep(target: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for path in sorted(target.glob("*.json")):
        shutil.copyfile(path, keep / path.name)


def _failed(project: Path, failed: Sequence[Result]) -> SqlError:
    """All that failed; what was skipped because of it is named, not explained."""
    causes = [result for result in failed if result.status != "skipped"]
    told = [f"{result.kind} {result.name}: {' '.join(result.message.split())}" for result in causes]
    skipped = [result.name for result in failed if result.status == "skipped"]
    if skipped:
        told.append(f"not run because of that: {', '.join(skipped)}")
    return SqlError(
        "\n  ".join(told),
        where=str(project),
        remedy="mend the model or its data; nothing was taken from this run",
    )
