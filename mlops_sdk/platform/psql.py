"""psql as a program: which one, and the environment that leads it to a database. Must not connect."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.platform.postgres_binaries import find_binaries


def find_psql() -> Path:
    """The psql on PATH, else the one of the wheel that brings Postgres. Raises NotFoundError without either."""
    found = shutil.which("psql")
    if found:
        return Path(found)
    try:
        program = find_binaries().program("psql")
    except (NotFoundError, InputError, MlopsError) as error:
        raise _missing() from error
    if not program.exists():
        raise _missing()
    return program


def variables(
    *, host: str, port: int, database: str, user: str, password: SecretStr, options: str, name: str
) -> Mapping[str, str]:
    """The process environment with libpq's variables: so no password is in an argument list."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {
        **kept,
        "PGHOST": host,
        "PGPORT": str(port),
        "PGDATABASE": database,
        "PGUSER": user,
        "PGPASSWORD": password.get_secret_value(),
        "PGOPTIONS": options,
        "PGAPPNAME": name,
    }


def _missing() -> NotFoundError:
    return NotFoundError(
        "there is no psql on PATH",
        remedy="install PostgreSQL's client (Debian: `apt install postgresql-client`), or read with"
        " mlops_sdk.state.connect in Python",
    )
