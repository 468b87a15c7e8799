"""The forked tables of a history: parents with a second unique key, and children that cascade."""

import sqlalchemy as sa

from mlops_sdk.state import Forked, State

HOT = 12  # accounts 0..HOT-1 are incremented by everybody


def state() -> State:
    """`accounts` and their `items`."""
    meta = sa.MetaData()
    accounts = sa.Table(
        "accounts",
        meta,
        sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
        sa.UniqueConstraint("slot", name="accounts_slot"),
    )
    items = sa.Table(
        "items",
        meta,
        sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("item_no", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.account_id"], name="items_account", ondelete="CASCADE"
        ),
    )
    return State(Forked(items), Forked(accounts))


CREATE_HOT = f"INSERT INTO accounts (account_id, slot) SELECT g, -g FROM generate_series(0, {HOT - 1}) AS g"
