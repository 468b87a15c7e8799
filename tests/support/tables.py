"""Declarations for tests, with SQLAlchemy as a pipeline would write them."""

from typing import Any

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import ARRAY, JSONB


def metadata() -> sa.MetaData:
    """Empty metadata: each test declares tables of its own."""
    return sa.MetaData()


def content(meta: sa.MetaData, *, dimensions: int = 4) -> sa.Table:
    """A derived table with a vector and an ANN index."""
    return sa.Table(
        "content",
        meta,
        sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("embedding", Vector(dimensions), nullable=False),
        sa.Index(
            "content_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
            postgresql_with={"m": 16},
        ),
    )


def users(meta: sa.MetaData, *extra: sa.Column[Any]) -> sa.Table:
    """A forked table."""
    return sa.Table(
        "users",
        meta,
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("liked", ARRAY(sa.Integer), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("profile", JSONB),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("clock_timestamp()"),
        ),
        *extra,
    )


def interactions(meta: sa.MetaData, *extra: sa.Column[Any]) -> sa.Table:
    """A shared table."""
    return sa.Table(
        "interactions",
        meta,
        sa.Column("interaction_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("film_id", sa.Integer, nullable=False),
        *extra,
        sa.Index("interactions_user", "user_id"),
    )
