"""Where the parts play: the environment with its releases, deployed and rolled back by the commands that people type.

A part's release is the pipeline's own manifest under the next free tag of this environment, so that the demo can run
again. It must not know what a pipeline does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from pydantic import SecretStr
from ruamel.yaml import YAML

from mlops_sdk import connect
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.memory import pss_mb
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import load_project
from tools.demo.transcript import ROOT, Transcript

FIRST_NUMBER = 201  # `make demo` and people have the tags below
MANIFESTS = ROOT / ".mlops" / "demo-all"
# What MLflow prints at each of some fifty versions.
_FOR_EACH_VERSION = ("🏃", "🧪", "Successfully registered", "Registered model", "Created version")
Changes = Mapping[str, Any]
"""What a release has other than its manifest, by dotted key: `{"models.rating.version": 2}`."""


@dataclass
class Stage:
    """One environment and what came of the demo in it; `problems` are claims that do not hold."""

    out: Transcript
    environment: str
    settings: Mapping[str, str]
    problems: list[str] = field(default_factory=list)
    most_memory_mb: float = 0.0
    most_programs: int = 0

    def deploy(self, manifest: str, changes: Changes, reason: str) -> str:
        """Deploy a pipeline's manifest under the next tag; the tag."""
        tag = f"v0.0.{self._next_number()}"
        path = MANIFESTS / f"{tag}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        # What an environment that is gone has left: its lock names models that exist nowhere any more.
        path.with_suffix(".lock.yaml").unlink(missing_ok=True)
        yaml = YAML()
        document = changed(yaml.load((ROOT / manifest).read_text(encoding="utf-8")), tag, changes)
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)
        shown = ", ".join(f"{key} {value}" for key, value in changes.items()) or "as it is"
        self.out.say(f"  {tag} is {manifest}: {shown}")
        self.mlops("deploy", str(path.relative_to(ROOT)), "-e", self.environment, "-m", reason)
        self._measure()
        return tag

    def release_hold(self) -> None:
        """End a hold that an earlier demo has left."""
        if self._ledger().hold() is not None:
            self.mlops("resume", self.environment, "-m", "demo-all runs")

    def roll_back(self) -> None:
        """Make the release before live again, and end the hold that protects it: the next part deploys."""
        self.mlops("rollback", self.environment, "-m", "demo-all", "--yes")
        self.mlops("resume", self.environment, "-m", "demo-all goes on")

    def mlops(self, *arguments: str) -> None:
        """Run a command of the SDK; a failure ends the demo."""
        self.out.run("mlops", *arguments)

    def python(self, *arguments: str) -> None:
        """Run `python -m ...` with the environment's variables; a failure ends the demo."""
        # scikit-learn and MLflow disagree about names; that is theirs to mend and no news here.
        quiet = {"PYTHONWARNINGS": "ignore::FutureWarning"}
        self.out.run(
            "python", "-m", *arguments, environ={**self.settings, **quiet}, without=_FOR_EACH_VERSION
        )

    def ask(self, tag: str, method: str, path: str, **given: Any) -> httpx.Response:
        """Ask by the router, and require that this release answers.

        Raises httpx.HTTPStatusError for an answer that is no success.
        """
        url = self.settings["MLOPS_ROUTER_URL"] + path
        answer = httpx.request(method, url, timeout=30, trust_env=False, **given).raise_for_status()
        by = answer.headers["X-MLOps-Release"]
        if by != tag:
            self.require(False, f"{tag} answers {path}, and not {by}")
        return answer

    def connect(self, tag: str) -> psycopg.Connection[Any]:
        """The release's own tables, as people look at them."""
        return connect(tag, environment=self.environment, project=load_project(ROOT))

    def operator(self) -> psycopg.Connection[Any]:
        """The environment's database, as who looks after it."""
        return psycopg.connect(self.settings["MLOPS_OPERATOR_URL"])

    def digest(self, tag: str) -> str:
        """The digest of a release that is bound here."""
        return next(each.digest for each in self._ledger().bindings() if each.release == tag)

    def supervisor(self) -> Supervisor:
        """Of the platform's programs."""
        return Supervisor(ROOT / ".mlops" / self.environment)

    def require(self, holds: bool, claim: str) -> None:
        """Keep a claim that does not hold as a problem, and say the one that does."""
        self.out.say(f"  {'holds' if holds else 'DOES NOT HOLD'}: {claim}")
        if not holds:
            self.problems.append(claim)

    def _next_number(self) -> int:
        bound = self._ledger().bindings(retired=True)
        numbers = [int(found[1]) for each in bound if (found := re.fullmatch(r"v0\.0\.(\d+)", each.release))]
        return max([FIRST_NUMBER - 1, *numbers]) + 1

    def _ledger(self) -> Ledger:
        return Ledger(SecretStr(self.settings["MLOPS_OPERATOR_URL"]), self.environment)

    def _measure(self) -> None:
        supervisor = self.supervisor()
        pids = supervisor.pids()
        self.most_memory_mb = max(self.most_memory_mb, pss_mb(pids))
        self.most_programs = max(self.most_programs, len(pids))


def changed(document: dict[str, Any], tag: str, changes: Changes) -> dict[str, Any]:
    """The manifest under another tag. A model's version takes the place of its alias. Pure but for `document`."""
    document["release"] = tag
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            place = place[parent]
        if last == "version":
            place.pop("alias", None)
        place[last] = value
    return document


def environment_folder(environment: str) -> Path:
    """Where the environment's files are."""
    return ROOT / ".mlops" / environment
