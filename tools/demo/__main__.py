"""`make demo`: from a manifest to a served recommendation and back, and to a confirmed date of a job, on this machine.

With `--kill consumer`, `invoker` or `worker` that process is killed in the middle of the job. Every step is a command
that a person could type; its output is shown and kept in `.mlops/demo/transcript.txt`. What the demo claims at its end
it has checked: a check that fails ends it with 1.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import httpx
import psycopg

from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.memory import pss_mb
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.runtime import env_file
from tools.demo.client import AskingClient, Tally
from tools.demo.customers import MANIFEST, Customers, Victim
from tools.demo.pipelines.stage import Stage
from tools.demo.training import train_in_worker
from tools.demo.transcript import ROOT, Transcript

ENVIRONMENT = "local"
FOLDER = ROOT / ".mlops" / "demo"
READERS = (7, 11, 42)  # users who only read
FIRST_WRITER, WRITERS, FILMS = 100, 50, 3201


@dataclass(frozen=True)
class Figure:
    """What was measured, and what it may be."""

    name: str
    value: float
    unit: str
    bar: str | None = None


def main() -> None:
    """Run the steps, check the claims, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo")
    parser.add_argument("--kill", choices=get_args(Victim), help="kill this in the middle of the job")
    kill: Victim | None = parser.parse_args().kill
    out = Transcript(FOLDER / "transcript.txt")
    started = time.monotonic()
    out.step(3, "the platform: Postgres, MLflow, Prefect, queue, router")
    out.run("mlops", "up", ENVIRONMENT)
    settings = env_file.load_layers(ROOT / ".mlops" / ENVIRONMENT, "environment", "operator")
    out.step(4, "3,201 films into the source database, four model versions into the registry")
    _load_source(out)
    train_in_worker(ROOT, ENVIRONMENT, lambda line: out.say(f"  {line}"))
    _make_ready(out)
    out.step(5, "the first release")
    out.run("mlops", "deploy", "stacks/releases/v0.0.1.yaml", "-e", ENVIRONMENT, "-m", "the first release")
    router = settings["MLOPS_ROUTER_URL"]
    before = {user: _recommend(out, router, user, shown=user == READERS[0]) for user in READERS}
    out.step(6, "the second release: only the reranker is new, so table content is reused")
    out.run("mlops", "deploy", "stacks/releases/v0.0.2.yaml", "-e", ENVIRONMENT, "-m", "a better reranker")
    _recommend(out, router, READERS[0], shown=True)
    supervisor = Supervisor(ROOT / ".mlops" / ENVIRONMENT)
    services = sum(name.startswith("service-") for name in supervisor.statuses())
    memory_mb = pss_mb(supervisor.pids())
    out.step(7, "feedback, and 8: roll everything back while a client asks and writes all along")
    client = AskingClient(router, first_user=FIRST_WRITER, users=WRITERS, films=FILMS)
    with client:
        _await_requests(client.tally, 50)
        out.run("mlops", "rollback", ENVIRONMENT, "-m", "demo", "--yes")
        _await_requests(client.tally, client.tally.requests + 50)
    out.say(f"requests: {client.tally.requests}, failed: {len(client.tally.failures)}")
    after = {user: _recommend(out, router, user, shown=user == READERS[0]) for user in READERS}
    out.step(9, "what was live when")
    out.run("mlops", "history", ENVIRONMENT)
    out.run("mlops", "status", ENVIRONMENT)
    out.run("mlops", "at", f"{ENVIRONMENT}@{{1.minute.ago}}")
    elapsed_s = time.monotonic() - started
    customers = Customers(Stage(out, ENVIRONMENT, settings))
    out.step(10, "one more release: what customers are worth, by a job in SQL that the orchestrator asks for")
    customers.release()
    confirmed_s = customers.ask(kill)
    customers.show()
    out.step(11, "and back: what that release wrote stays with it")
    out.run("mlops", "rollback", ENVIRONMENT, "-m", "demo", "--yes")
    problems = _problems(client.tally, before, after, settings) + customers.problems()
    whole_s = time.monotonic() - started
    figures = [
        Figure("steps 3 to 9", round(elapsed_s, 1), "s", "at most 120 s"),
        Figure(
            f"the platform with {services} releases, sum of PSS",
            round(memory_mb),
            "MB",
            "at most 1,500 MB with two",
        ),
        Figure("a date of the job, from asking to its confirmation", round(confirmed_s, 1), "s"),
        Figure("all steps", round(whole_s, 1), "s"),
    ]
    _show(out, figures)
    out.say("\nLook at (make down stops them all):")
    out.say(f"  service  {router}/recommend?user_id=7&k=5")
    out.say(f"  MLflow   {settings['MLFLOW_TRACKING_URI']}")
    out.say(f"  Prefect  {settings['PREFECT_API_URL'].removesuffix('/api')}")
    out.say(f"  this transcript: {(FOLDER / 'transcript.txt').relative_to(ROOT)}")
    for problem in problems:
        out.say(f"FAILED: {problem}")
    sys.exit(1 if problems else 0)


def _load_source(out: Transcript) -> None:
    """Load the films with the variables of environment and operator, which the process environment carries."""
    values = env_file.load_layers(ROOT / ".mlops" / ENVIRONMENT, "environment", "operator")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.recommender.source"],
        cwd=ROOT,
        env={**os.environ, **values},
        capture_output=True,
        text=True,
        check=False,
    )
    out.say("$ python -m pipelines.recommender.source")
    out.say(f"  {(done.stdout or done.stderr).strip()}")
    if done.returncode:
        sys.exit(done.returncode)


def _make_ready(out: Transcript) -> None:
    """Let the demo run again: end the hold that an earlier one ended with, and forget locks without an environment.

    Such a lock names models of an environment that was deleted: their digests exist nowhere any more.
    """
    done = subprocess.run(
        [str(ROOT / ".venv/bin/mlops"), "status", ENVIRONMENT, "-o", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    status = json.loads(done.stdout)
    known = {release["release"] for release in status["releases"]}
    for manifest in ("stacks/releases/v0.0.1.yaml", "stacks/releases/v0.0.2.yaml", MANIFEST):
        lock = (ROOT / manifest).with_suffix(".lock.yaml")
        tag = Path(manifest).stem
        if tag not in known and lock.exists():
            out.say(f"  {lock.name} was made for an environment that is gone: it is made anew")
            lock.unlink()
    if status["hold"]:
        out.run("mlops", "resume", ENVIRONMENT, "-m", "the demo runs again")


def _recommend(out: Transcript, router: str, user: int, *, shown: bool) -> list[object]:
    """Ask for five films; return the answer's items. Request id and times are headers, not part of it."""
    answer = httpx.get(f"{router}/recommend", params={"user_id": user, "k": 5}, timeout=10)
    answer.raise_for_status()
    items: list[object] = answer.json()["films"]
    if shown:
        out.say(f"$ curl '{router}/recommend?user_id={user}&k=5'")
        for name in ("X-MLOps-Release", "X-MLOps-Slot", "X-MLOps-Models"):
            out.say(f"  {name}: {answer.headers[name]}")
        for item in items:
            out.say(f"  {json.dumps(item)}")
    return items


def _await_requests(tally: Tally, count: int, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while tally.requests < count and time.monotonic() < deadline:
        time.sleep(0.05)


def _problems(
    tally: Tally, before: dict[int, list[object]], after: dict[int, list[object]], settings: dict[str, str]
) -> list[str]:
    """Return what does not hold of what the demo is about to claim."""
    problems = [f"a request failed: {failure}" for failure in tally.failures[:5]]
    problems += [
        f"user {user} got another answer after the rollback" for user in before if before[user] != after[user]
    ]
    if tally.releases != ["v0.0.2", "v0.0.1"]:
        problems.append(f"the releases that answered were {tally.releases}")
    with psycopg.connect(settings["MLOPS_OPERATOR_URL"]) as connection:
        row = connection.execute(
            "SELECT count(DISTINCT request_id) FROM shared.interactions WHERE request_id = ANY(%s)",
            [tally.feedback],
        ).fetchone()
    kept = row[0] if row else 0
    if kept != len(tally.feedback):
        problems.append(f"{len(tally.feedback)} feedbacks were accepted, {kept} are in interactions")
    return problems


def _show(out: Transcript, figures: Sequence[Figure]) -> None:
    (FOLDER / "figures.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    out.say(f"\nMeasured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC:")
    for figure in figures:
        bar = f" ({figure.bar})" if figure.bar else ""
        out.say(f"  {figure.name}: {figure.value} {figure.unit}{bar}")


if __name__ == "__main__":
    try:
        main()
    except MlopsError as error:
        sys.exit(f"the demo ends here: {error}")
