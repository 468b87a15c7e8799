"""What an environment keeps: sizes, the janitor's run, pins, reading an earlier release, erasing a person.

Answers are JSON data; their shapes stand in `docs/reference/output.md`. It decides nothing of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Report, silent
from mlops_sdk.stack import config
from mlops_sdk.state import erase as erasing
from mlops_sdk.state import janitor, pins, sizes
from mlops_sdk.state.reading import Reading, open_reading


def tables(project: Project, environment: str) -> dict[str, Any]:
    """Return the kept releases with their tables and bytes, newest first, and the totals."""
    with open_session(project, environment) as session:
        releases, totals = sizes.read_sizes(session.operator.operator_url, environment)
        present = {binding.digest for binding in session.present(session.ledger.pointer().digest)}
    return {
        "environment": environment,
        "releases": [
            {
                "release": r.release,
                "digest": r.digest,
                "slot": "current" if r.live else "kept" if r.digest in present else "-",
                "status": r.status,
                "pins": list(r.pins),
                "pg_schema": r.pg_schema,
                "own_bytes": r.own_bytes,
                "shared_bytes": r.shared_bytes,
                "tables": [asdict(t) for t in r.tables],
            }
            for r in releases
        ],
        "totals": asdict(totals),
    }


def collect(project: Project, environment: str, *, dry_run: bool, report: Report = silent) -> dict[str, Any]:
    """Return what the janitor dropped, or with `dry_run` would, what it left and why, and what no record knows.

    Raises LeaseHeldError unless it only looks.
    """
    with open_session(project, environment, report) as session:
        url = session.operator.operator_url
        if dry_run:
            found = janitor.preview(url, environment)
        else:
            with session.acquire_lease() as lease:
                found = janitor.collect(
                    url,
                    environment,
                    lease=lease.token,
                    actor=lease.holder.who,
                    cause=config.cause_of(session.stack.config.read()),
                )
    return {
        "environment": environment,
        "dry_run": dry_run,
        "dropped": [asdict(item) for item in found.dropped],
        "left": [asdict(item) for item in found.left],
        "orphans": [{"kind": kind, "name": name} for kind, name in found.orphans],
    }


def pin(project: Project, environment: str, release: str, *, reason: str) -> dict[str, Any]:
    """Keep a release's tables whatever becomes of it. Raises InputError without a reason, NotFoundError."""
    if not reason.strip():
        raise InputError("a pin needs a reason", remedy='say it with -m "..."')
    with open_session(project, environment) as session:
        digest = named_digest(session.ledger, release)
        who = Holder.this_process().who
        pins.pin(session.operator.operator_url, environment, digest, reason=reason, who=who)
        return {"environment": environment, "release": session.ledger.lock(digest).release, "digest": digest}


def unpin(project: Project, environment: str, release: str, *, reason: str) -> dict[str, Any]:
    """End all pins of a release, and return what they were for."""
    with open_session(project, environment) as session:
        digest = named_digest(session.ledger, release)
        who = Holder.this_process().who
        ended = pins.unpin(session.operator.operator_url, environment, digest, reason=reason, who=who)
        return {
            "environment": environment,
            "release": session.ledger.lock(digest).release,
            "digest": digest,
            "ended": ended,
        }


@contextmanager
def read(project: Project, environment: str, release: str) -> Iterator[Reading]:
    """Open a release for reading: a tag, a digest or an address, whose environment wins; empty is the live one.

    On a cluster its address is good for the length of the block, or of a program that takes the process's place there.
    """
    if any(mark in release for mark in "#~@"):
        environment = addresses.parse(release, now=datetime.now(UTC)).environment
    with open_session(project, environment) as session:
        operator = session.operator
        yield open_reading(operator.operator_url, operator.master_key, environment, release)


def erase(
    project: Project,
    environment: str,
    table: str,
    key: Sequence[str],
    *,
    also: Sequence[str] = (),
    reason: str = "",
    dry_run: bool,
    report: Report = silent,
) -> dict[str, Any]:
    """Remove a person's rows from every kept release, or count them. `also` are TABLE.COLUMN.

    Raises what `mlops_sdk.state.erase.erase` raises, LeaseHeldError.
    """
    pairs = [tuple(text.split(".")) for text in also]
    wrong = [text for text, pair in zip(also, pairs, strict=True) if len(pair) != 2]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no TABLE.COLUMN", remedy="such as --also interactions.user_id")
    with open_session(project, environment, report) as session, session.acquire_lease() as lease:
        done = erasing.erase(
            session.operator.operator_url,
            environment,
            table,
            key,
            also=[(pair[0], pair[1]) for pair in pairs],
            lease=lease.token,
            actor=lease.holder.who,
            reason=reason,
            dry_run=dry_run,
        )
    return {
        "environment": environment,
        "table": table,
        "dry_run": dry_run,
        "rows": done.rows,
        "erased": [asdict(found) for found in done.erased],
        "notes": list(done.notes),
    }
