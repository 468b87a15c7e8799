"""Runs are told apart by their id alone."""

from alembic import op

from mlops_sdk.ledger.migrations import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_file(op.get_bind(), "0005_runs_by_id.sql")
