"""Runs of jobs."""

from alembic import op

from mlops_sdk.ledger.migrations import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_file(op.get_bind(), "0004_runs.sql")
