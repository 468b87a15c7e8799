"""Releases with complete state."""

from alembic import op

from mlops_sdk.ledger.migrations import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_file(op.get_bind(), "0002_complete_state.sql")
