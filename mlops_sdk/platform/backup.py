"""`python -m mlops_sdk.platform.backup --folder FOLDER --keep-days N`: dumps of the environment's databases.

One file a database and a run, `DATABASE-TIME.dump` in pg_dump's own format, which `pg_restore` reads. The
administrator's address comes by MLOPS_ADMIN_URL, or by MLOPS_DATABASE_HOST, _PORT and MLOPS_POSTGRES_PASSWORD.
Files that are older than the days to keep are removed, but never the newest of a database. Must not restore.
"""

import argparse
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.platform.postgres import PASSWORD_KEY, SUPERUSER
from mlops_sdk.platform.postgres_binaries import find_binaries

_TIME = "%Y%m%dT%H%M%SZ"


def dump(folder: Path, databases: list[str], server: dict[str, str], now: datetime) -> list[Path]:
    """Dump each database; a file gets its name only when it is whole. Raises MlopsError with pg_dump's words."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for database in databases:
        target = folder / f"{database}-{now.strftime(_TIME)}.dump"
        partial = target.with_suffix(".partial")
        command = [str(find_binaries().program("pg_dump")), "--format=custom", f"--file={partial}"]
        done = subprocess.run(
            command,
            env={**os.environ, **server, "PGDATABASE": database},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            partial.unlink(missing_ok=True)
            raise MlopsError(f"pg_dump failed: {done.stderr.strip()}", where=database)
        partial.rename(target)
        made.append(target)
    return made


def expired(names: list[str], keep: timedelta, now: datetime) -> list[str]:
    """The dumps that are older than `keep`, without the newest of each database. Pure."""
    newest: dict[str, str] = {}
    for name in sorted(names):
        newest[name.rpartition("-")[0]] = name
    return [name for name in names if now - _made(name) > keep and name not in newest.values()]


def _made(name: str) -> datetime:
    return datetime.strptime(name.rpartition("-")[2].removesuffix(".dump"), _TIME).replace(tzinfo=UTC)


def _server() -> dict[str, str]:
    """libpq's variables of the administrator. Raises InputError where nothing says who that is."""
    if admin := os.environ.get("MLOPS_ADMIN_URL"):
        found = conninfo_to_dict(admin)
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
        return {names[key]: str(value) for key, value in found.items() if key in names}
    try:
        return {
            "PGHOST": os.environ["MLOPS_DATABASE_HOST"],
            "PGPORT": os.environ["MLOPS_DATABASE_PORT"],
            "PGUSER": SUPERUSER,
            "PGPASSWORD": os.environ[PASSWORD_KEY],
        }
    except KeyError as error:
        raise InputError(f"the variable {error.args[0]} is not set") from error


def main() -> int:
    """Dump, then remove what is expired; answers the exit code."""
    parser = argparse.ArgumentParser(prog="mlops_sdk.platform.backup")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the dumps")
    parser.add_argument("--keep-days", type=int, required=True, help="days that a dump is kept")
    parser.add_argument("databases", nargs="+", help="the databases to dump")
    options = parser.parse_args()
    now = datetime.now(UTC)
    try:
        for path in dump(options.folder, options.databases, _server(), now):
            print(f"{path}: {path.stat().st_size} bytes")  # noqa: T201 - a program that prints
    except MlopsError as error:
        print(f"backup: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    dumps = [path.name for path in options.folder.glob("*.dump")]
    for name in expired(dumps, timedelta(days=options.keep_days), now):
        (options.folder / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
