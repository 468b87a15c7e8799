"""What the first release installed."""

from alembic import op

from mlops_sdk.ledger.migrations import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_file(op.get_bind(), "0001_first_release.sql")
