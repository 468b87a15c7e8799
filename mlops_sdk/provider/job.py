"""`python -m mlops_sdk.provider.job database|work-pool|release-state`: what a Job inside a cluster does.

The same handlers as the provider's, where Postgres and Prefect are reached by their names: inputs come from the
environment layer, the Secrets and the files that the Job's pod has. Ends with the error's exit code and its text, which
is what the Job's status then shows.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.ledger.migrations import LATEST as CONTROL_TABLES
from mlops_sdk.ledger.prefect_database import DATABASE as PREFECT_DATABASE
from mlops_sdk.ledger.prefect_database import ROLE as PREFECT_ROLE
from mlops_sdk.provider.handler import Environment
from mlops_sdk.provider.values import Plain
from mlops_sdk.runtime.queues import EVENTS, TRAININGS
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings, ServiceSettings

ADMIN_URL_KEY = "MLOPS_ADMIN_URL"
PREFECT_PASSWORD_KEY = "MLOPS_PREFECT_PASSWORD"  # noqa: S105 (the name of the variable, not a password)

__all__ = ["ADMIN_URL_KEY", "CONTROL_TABLES", "PREFECT_DATABASE", "PREFECT_PASSWORD_KEY", "PREFECT_ROLE"]


@dataclass(frozen=True)
class Inside(Environment):
    """The environment as a pod of it sees it: by the variables that it was given."""

    variables: Mapping[str, str] = field(default_factory=lambda: os.environ, compare=False)

    def settings(self) -> EnvironmentSettings:
        """The environment layer of the pod. Raises InputError."""
        return EnvironmentSettings.parse(self.variables)

    def operator(self) -> OperatorSettings:
        """The operator layer of the pod. Raises InputError."""
        return OperatorSettings.parse(self.variables)


def here(variables: Mapping[str, str] = os.environ) -> Inside:
    """The environment of this pod. Raises InputError where a variable is missing."""
    settings = EnvironmentSettings.parse(variables)
    return Inside(settings.environment, settings.project_root, variables=variables)


def database(env: Inside) -> None:
    """Databases, roles, control tables, ledger and queues; Prefect's database where it has a password."""
    from mlops_sdk.ledger import prefect_database
    from mlops_sdk.provider.database import DatabaseHandler, admin_of
    from mlops_sdk.provider.queue import QueueHandler

    settings, operator = env.settings(), env.operator()
    inputs: Plain = {"app": settings.app, "masterKey": operator.master_key.get_secret_value()}
    if admin := env.variables.get(ADMIN_URL_KEY):
        inputs["adminUrl"] = admin
    else:
        inputs |= {"host": settings.database_host, "port": settings.database_port}
    DatabaseHandler().apply(env, inputs, None)
    for queue in (EVENTS, TRAININGS):
        QueueHandler().apply(env, {"queue": queue}, None)
    if password := env.variables.get(PREFECT_PASSWORD_KEY):
        prefect_database.install(admin_of(inputs), password)


def work_pool(env: Inside, file: Path) -> None:
    """The work pool of Kubernetes Jobs, with the job template in `file`."""
    from mlops_sdk.provider.work_pool import put_pool

    settings = env.settings()
    try:
        template = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"no job template: {error}", where=str(file)) from error
    put_pool(settings.prefect_api_url, settings.work_pool or "mlops", "kubernetes", template)


def release_state(env: Inside) -> None:
    """The cut of the release whose layer of variables the pod has."""
    from mlops_sdk.provider.release_state import ReleaseStateHandler

    release = ServiceSettings.parse(env.variables)
    inputs: Plain = {
        "digest": release.release_digest,
        "release": release.release,
        "pgSchema": release.pg_schema,
        "role": release.database_user,
        "password": release.database_password.get_secret_value(),
    }
    ReleaseStateHandler().apply(env, inputs, None)


def main(arguments: list[str]) -> int:
    """Do what the first argument names; answers the exit code."""
    jobs: dict[str, Callable[[Inside], None]] = {"database": database, "release-state": release_state}
    try:
        match arguments:
            case [name] if name in jobs:
                jobs[name](here())
            case ["work-pool", file]:
                work_pool(here(), Path(file))
            case _:
                raise InputError("say one of: database, release-state, work-pool FILE", where="arguments")
    except MlopsError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    print("done")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
