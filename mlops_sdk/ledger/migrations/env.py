"""What alembic runs for each command: it works on the connection, and in the transaction, of `upgrade`."""

from alembic import context

from mlops_sdk.ledger.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema="mlops",
)
with context.begin_transaction():
    context.run_migrations()
