"""The platform's programs, for the program of an environment: commands come from `platform`. Pure."""

from pathlib import Path

from mlops_sdk.platform.postgres import PASSWORD_KEY as POSTGRES_PASSWORD_KEY
from mlops_sdk.platform.postgres import SUPERUSER, server_command
from mlops_sdk.platform.program import Program, Readiness

__all__ = ["POSTGRES_PASSWORD_KEY", "SUPERUSER", "postgres"]


def postgres(folder: Path, port: int) -> Program:
    """The database server of the environment in `folder`; `env/postgres.env` has its password."""
    return Program(
        name="postgres",
        command=server_command(folder / "postgres", port),
        directory=folder,
        env_files=(folder / "env" / "postgres.env",),
        stop_signal="INT",
        stop_timeout_s=30,
        readiness=Readiness.postgres(port),
    )
