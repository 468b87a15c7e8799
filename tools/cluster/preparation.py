"""Everything that tests on a node need and that takes minutes: Kubernetes, a base image, the layer of packages.

Tells apart what the machine lacks (no rights, no way to sources, too slow), for which tests are left out with the
reason, and what is our own fault, which fails. Must not start a node.
"""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_sdk.errors import DeadlineError, MlopsError, PolicyError, UnreachableError
from mlops_sdk.stack.engine import cache_root
from tools.clone import ROOT
from tools.cluster import packages, sources
from tools.cluster.base_image import buildah, ensure_base
from tools.cluster.binaries import ensure, find
from tools.cluster.project_images import build
from tools.cluster.requirements import lacking

LIMIT_MIN = 25
"""How long `make test` builds at most, in minutes: twice what two free processors take."""

_DISK_GB = 12
_GIVEN = "MLOPS_TEST_KUBECONFIG"
_MACHINES = (PolicyError, UnreachableError, DeadlineError)
_NO_INDEX = re.compile(
    r"NewConnectionError|ConnectTimeout|Connection refused|Temporary failure in name resolution"
    r"|Network is unreachable|Could not fetch URL|ReadTimeout"
)

Report = Callable[[str], None]


def prepare(report: Report, environ: Mapping[str, str] = os.environ) -> None:
    """Build what is not built yet. Nothing where another cluster is named.

    Raises PolicyError, UnreachableError or DeadlineError for what the machine lacks, MlopsError for our own faults.
    """
    if environ.get(_GIVEN):
        report(f"tests/cluster runs on the cluster of {_GIVEN}")
        return
    packages.install(report, environ)
    faults = lacking()
    if faults:
        raise PolicyError("; ".join(faults), remedy=f"Or name a cluster by {_GIVEN}.")
    if find(environ) is None:
        _require_room(environ)
        sources.fetch(report, environ)
    report(f"Kubernetes: {ensure(report, environ).folder}")
    report(f"base image: {_base(report, environ)}")
    # The layer of packages takes minutes; the images of a commit are then built in seconds.
    report(f"packages: {_packages(report, environ)}")


def prepare_or_leave_out(
    report: Report, environ: Mapping[str, str] = os.environ, limit_min: float = LIMIT_MIN
) -> None:
    """As `prepare`, but what the machine lacks is said and kept as the reason. Raises MlopsError for our faults."""
    note = _note(environ)
    note.unlink(missing_ok=True)
    try:
        with _at_most(limit_min):
            prepare(report, environ)
    except _MACHINES as error:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(error.what, encoding="utf-8")
        report(f"tests/cluster is left out: {error}")


def reason_to_leave_out(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why the last preparation came to nothing; None where it did, or was never tried."""
    note = _note(environ)
    return note.read_text(encoding="utf-8") if note.exists() else None


def _note(environ: Mapping[str, str]) -> Path:
    return cache_root(environ) / "cluster" / "left-out.txt"


def _require_room(environ: Mapping[str, str]) -> None:
    root = cache_root(environ)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free // 10**9
    if free < _DISK_GB:
        raise PolicyError(
            f"building Kubernetes takes {_DISK_GB} GB of disk, and {free} are free", where=str(root)
        )


def _base(report: Report, environ: Mapping[str, str]) -> str:
    """The base image, in which a command was run: where builds may not do that, none of ours can."""
    try:
        base = ensure_base(report, environ)
    except MlopsError as error:
        raise UnreachableError(f"no base image from Debian's packages: {error.what}") from error
    container = buildah("from", "--pull-never", base, environ=environ).strip()
    try:
        buildah("run", "--isolation", "chroot", container, "python", "--version", environ=environ)
    except MlopsError as error:
        raise PolicyError(f"this machine builds no images: {error.what}") from error
    finally:
        buildah("rm", container, environ=environ)
    return base


def _packages(report: Report, environ: Mapping[str, str]) -> str:
    try:
        return build(ROOT, "prepared", "dependencies", report, environ)
    except MlopsError as error:
        if _NO_INDEX.search(error.what):
            raise UnreachableError(f"no package index for an image: {error.what}") from error
        raise


@contextmanager
def _at_most(limit_min: float) -> Iterator[None]:
    """Raises DeadlineError inside the block when its time is over; whatever it started then is ended by it."""

    def over(*_: Any) -> None:
        raise DeadlineError(
            f"the first build was not done after {limit_min:.0f} minutes on this machine",
            remedy="`make cluster` takes its time; what was compiled already is kept.",
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, limit_min * 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
