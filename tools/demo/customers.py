"""The demo's last part: a release with a job in SQL, one date of it by the orchestrator, and its numbers counted anew.

The flow asks the release's invoker, the invoker queues a message, and the job consumer takes it. What the job wrote is
compared with the purchases of the data file, counted here in plain Python.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

import psycopg
from pydantic import SecretStr

from mlops_sdk import connect
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.programs import PREFECT_WORKER, invoker_name, jobs_name
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import load_project
from pipelines.rfm.source import read_purchases
from tools.demo.transcript import ROOT, Transcript

MANIFEST, RELEASE = "tools/demo/v0.0.100.yaml", "v0.0.100"
FIRST_DAY = date(1998, 3, 31)  # that a first demo asks for
Victim = Literal["consumer", "invoker", "worker"]
_AT_WORK_S, _FLOW_S, _CUT_OFF_S = 120.0, 240, 90

# By customer: days since the last purchase, days with purchases, sum of what was paid.
Values = dict[int, tuple[int, int, Decimal]]


@dataclass
class Customers:
    """The part of the demo about customers; `wrong` is what did not hold in it."""

    out: Transcript
    environment: str
    settings: Mapping[str, str]
    day: date = FIRST_DAY
    wrong: list[str] = field(default_factory=list)

    def release(self) -> None:
        """Load the purchases, end the rollback's hold, and deploy the release.

        A demo before may have had dates done: this one asks for the next.
        """
        self.out.run("python", "-m", "pipelines.rfm.source", environ=self.settings)
        self.out.run("mlops", "resume", self.environment, "-m", "customers are scored too")
        self.out.run("mlops", "deploy", MANIFEST, "-e", self.environment, "-m", "customers are scored too")
        with psycopg.connect(self.settings["MLOPS_OPERATOR_URL"]) as conn:
            row = conn.execute("SELECT max(run_date) FROM mlops.run WHERE job = 'rfm'").fetchone()
        if row and row[0]:
            self.day = row[0] + timedelta(days=1)

    def ask(self, kill: Victim | None) -> float:
        """Have the flow ask the invoker for the date and confirm it; the seconds that it took.

        Prefect begins no flow again that died with its worker: it is asked for once more, as a person would do.
        """
        started = time.monotonic()
        if kill is None:
            self._flow(_FLOW_S, may_fail=False)
            return time.monotonic() - started
        with ThreadPoolExecutor(1) as beside:
            killing = beside.submit(self._kill, kill)
            # Prefect says of no flow that its worker was killed: who waits gives up at some time.
            failed = self._flow(_CUT_OFF_S if kill == "worker" else _FLOW_S, may_fail=True)
            killing.result()
        if failed:
            self._flow(_FLOW_S, may_fail=False)
        return time.monotonic() - started

    def show(self) -> None:
        """Print the run and what the date came to."""
        for status, attempt in self._runs():
            self.out.say(f"  the run of {self.day}: {status} by attempt {attempt}")
        with self._connect() as conn:
            rows = conn.execute(
                "SELECT segment, count(*), sum(monetary) FROM rfm_daily WHERE run_date = %s GROUP BY 1 ORDER BY 3 DESC",
                [self.day],
            ).fetchall()
        for segment, count, spent in rows:
            self.out.say(f"  {segment:<10} {count:>6,} customers {spent:>12,.2f} spent")

    def problems(self) -> list[str]:
        """What does not hold: one run, done, whose rows are those of a count of the data file."""
        runs, values = self._runs(), self._values()
        if [status for status, _ in runs] != ["done"]:
            self.wrong.append(f"the runs of {self.day} are {runs}")
        if values != expected_values(self.day):
            self.wrong.append(f"what the job wrote of {self.day} is not what the purchases come to")
        else:
            self.out.say(
                f"  {len(values):,} customers of {self.day} in {RELEASE}: equal to a count of the data file in Python"
            )
        return self.wrong

    def _flow(self, timeout_s: int, *, may_fail: bool) -> int:
        told = ("-p", f"first={self.day}", "-p", f"last={self.day}", "-p", "invoker=true")
        watch = ("--watch", "--watch-interval", "1", "--watch-timeout", str(timeout_s))
        command = ("prefect", "deployment", "run", f"days/{RELEASE}", *told, *watch)
        return self.out.run(*command, environ=self.settings, may_fail=may_fail)

    def _kill(self, victim: Victim) -> None:
        """Kill the victim with SIGKILL once the job is at work. Raises RuntimeError if it could not."""
        deadline = time.monotonic() + _AT_WORK_S
        while "running" not in [status for status, _ in self._runs()]:
            if time.monotonic() > deadline:
                raise RuntimeError("the job was never seen at work: nothing was killed")
            time.sleep(0.05)
        name = self._name(victim)
        pid = Supervisor(ROOT / ".mlops" / self.environment).statuses()[name].pid
        if pid is None:
            raise RuntimeError(f"{name} does not run: nothing was killed")
        os.kill(pid, signal.SIGKILL)
        self.out.say(f"  killed {name} (process {pid}) while the job was at work")

    def _name(self, victim: Victim) -> str:
        """The name of the victim's program: of the release's own, by its digest."""
        ledger = Ledger(SecretStr(self.settings["MLOPS_OPERATOR_URL"]), self.environment)
        digest = next(binding.digest for binding in ledger.bindings() if binding.release == RELEASE)
        match victim:
            case "consumer":
                return jobs_name(digest)
            case "invoker":
                return invoker_name(digest)
            case "worker":
                return PREFECT_WORKER

    def _runs(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings["MLOPS_OPERATOR_URL"]) as conn:
            return conn.execute(
                "SELECT status, attempt FROM mlops.run WHERE job = 'rfm' AND run_date = %s",
                [self.day],
            ).fetchall()

    def _values(self) -> Values:
        with self._connect() as conn:
            rows = conn.execute(
                "SELECT customer_id, recency_days, frequency, monetary FROM rfm_daily WHERE run_date = %s",
                [self.day],
            ).fetchall()
        return {customer: (recency, frequency, monetary) for customer, recency, frequency, monetary in rows}

    def _connect(self) -> psycopg.Connection[Any]:
        return connect(RELEASE, environment=self.environment, project=load_project(ROOT))


def expected_values(day: date) -> Values:
    """What the purchases of the data file until the end of `day` come to."""
    paid: defaultdict[int, Decimal] = defaultdict(Decimal)
    days: defaultdict[int, set[date]] = defaultdict(set)
    for purchase in read_purchases():
        if purchase.bought_on <= day:
            paid[purchase.customer_id] += purchase.amount
            days[purchase.customer_id].add(purchase.bought_on)
    return {customer: ((day - max(on)).days, len(on), paid[customer]) for customer, on in days.items()}


__all__ = ["Customers", "Victim", "expected_values"]
