"""The prediction log as a table a day."""

from alembic import op

from mlops_sdk.ledger.migrations import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_file(op.get_bind(), "0003_prediction_log_by_day.sql")
