"""`python -P -m mlops_sdk.workload.consume package.module:JOBS`: the job consumer of a release.

The process has the release's variables, and the release's checkout as its working directory. Takes job messages
while its release is live and runs the registered functions, each in a process of its own. SIGTERM ends it after the
job in hand.
"""

import importlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.messaging.consumer import Consumer
from mlops_sdk.messaging.envelope import Envelope, MalformedError, decode
from mlops_sdk.messaging.open import open_transport
from mlops_sdk.messaging.outcome import RefusedError, cut
from mlops_sdk.messaging.pointer import PointerGate
from mlops_sdk.messaging.retry import RetryPolicy
from mlops_sdk.messaging.transport import Delivery
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.attempt import attempt
from mlops_sdk.workload.jobs import KIND, QUEUE, Job, Jobs
from mlops_sdk.workload.runs import Runs


def job_handler(jobs: Jobs, runs: Runs, policy: RetryPolicy) -> Callable[[Envelope], None]:
    """The handler of job messages: keeps the table of runs, and runs the job in between."""

    def handler(message: Envelope) -> None:
        job = _job_of(jobs, message)
        day = message.run_date
        assert day is not None  # _job_of looked
        if not runs.start(message.id, job.name, day, message.attempt):
            return
        try:
            result = attempt(job, message, runs)
        except RefusedError as error:
            runs.end(message.id, message.attempt, "failed", cause=cut(error.what))
            raise
        except MlopsError as error:
            status = "failed" if policy.is_last(message.attempt) else "waiting"
            runs.end(message.id, message.attempt, status, cause=cut(error.what))
            raise
        runs.end(message.id, message.attempt, "done", result=result)

    return handler


def given_up(runs: Runs) -> Callable[[Delivery, str], None]:
    """For the consumer to call when a message became a dead letter: its run failed, if it has one."""

    def record(delivery: Delivery, cause: str) -> None:
        try:
            message = decode(delivery.body, attempt=1)
        except MalformedError:
            return
        runs.give_up(message.id, cause)

    return record


def load_jobs(entry: str) -> Jobs:
    """The jobs that `package.module:ATTRIBUTE` names. Raises InputError."""
    module, _, attribute = entry.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{entry} cannot be imported: {error}", where="jobs") from error
    if not isinstance(found, Jobs):
        raise InputError(f"{entry} is no Jobs(...)", where="jobs")
    return found


def consume(settings: ServiceSettings, jobs: Jobs, stop: threading.Event, *, queue: str = QUEUE) -> None:
    """Consume until `stop` is set, so many jobs side by side as `jobs` says. Raises what `Consumer.run` raises."""

    def lane() -> None:
        try:
            _consume(settings, jobs, stop, queue)
        finally:
            stop.set()  # one that cannot go on ends all: who supervises the process starts it anew

    with ThreadPoolExecutor(jobs.at_once, thread_name_prefix="jobs") as pool:
        for done in [pool.submit(lane) for _ in range(jobs.at_once)]:
            done.result()


def _consume(settings: ServiceSettings, jobs: Jobs, stop: threading.Event, queue: str) -> None:
    conninfo = settings.database_conninfo(application_name="mlops jobs")
    policy, runs = RetryPolicy(), Runs(conninfo, settings.release_digest)
    transport = open_transport(queue, conninfo=conninfo, pubsub_project=settings.pubsub_project)
    gate = PointerGate(conninfo, environment=settings.environment, digest=settings.release_digest)
    consumer = Consumer(
        transport,
        {KIND: job_handler(jobs, runs, policy)},
        policy=policy,
        gate=gate,
        batch=1,
        on_buried=given_up(runs),
    )
    try:
        consumer.run(stop)
    finally:
        gate.close()
        transport.close()


def main() -> int:
    """Consume until SIGTERM or SIGINT; answers the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if len(sys.argv) != 2:
            raise InputError("usage: python -P -m mlops_sdk.workload.consume package.module:JOBS")
        consume(ServiceSettings.parse(), load_jobs(sys.argv[1]), stop)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0


def _job_of(jobs: Jobs, message: Envelope) -> Job:
    name = message.payload.get("job")
    if not isinstance(name, str) or message.run_date is None:
        raise RefusedError("a job message names a job in its payload, and has a run date")
    try:
        return jobs.job(name)
    except NotFoundError as error:
        raise RefusedError(error.what) from error


if __name__ == "__main__":
    sys.exit(main())
