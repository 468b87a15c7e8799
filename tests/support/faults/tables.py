"""A release that has every kind of table: what the operations under faults work on."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector

from mlops_sdk.state import Batch, BuildContext, Derived, Forked, Rederive, Shared, Source, State
from mlops_sdk.state.declare import Declared
from mlops_sdk.state.fill import Build


def state(*, later: bool = False, mottos: bool = False) -> State:
    """Derived `content`, `titles` and `covers`; forked tables of each policy; shared `events` and `ratings`.

    A `later` release has one more forked and shared table, and one more column of `events`. One with `mottos` has a
    column of `accounts` that others have not.
    """
    meta = sa.MetaData()
    content = sa.Table(
        "content",
        meta,
        sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False, unique=True),
        sa.Column("embedding", Vector(3), nullable=False),
        sa.Index(
            "content_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )
    titles = sa.Table(
        "titles",
        meta,
        sa.Column("title", sa.Text, primary_key=True),
    )
    covers = sa.Table(
        "covers",
        meta,
        sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
    )
    accounts = sa.Table(
        "accounts",
        meta,
        sa.Column("account_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.BigInteger, nullable=False, unique=True),
        sa.Column("n", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("twice", sa.BigInteger, sa.Computed("n * 2", persisted=True)),
        *([sa.Column("motto", sa.Text)] if mottos else []),
        sa.Index("accounts_n", "n"),
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
    notes = sa.Table(
        "notes",
        meta,
        sa.Column("note_id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    events = sa.Table(
        "events",
        meta,
        sa.Column("event_no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        *([sa.Column("origin", sa.Text)] if later else []),
    )
    drafts = sa.Table(
        "drafts",
        meta,
        sa.Column("draft_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    ratings = sa.Table(
        "ratings",
        meta,
        sa.Column("rating_no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("film_id", sa.Integer, nullable=False),
    )
    scores = sa.Table(
        "scores",
        meta,
        sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    films = Source("films", "SELECT count(*) FROM films")
    return State(
        Derived(content, builder="app.build:content", sources=(films,)),
        Derived(titles, builder="app.build:titles", tables=("content",)),
        Derived(covers, builder="app.build:covers", sources=(films,)),
        Forked(items),
        Forked(accounts),
        Forked(notes),
        Forked(drafts, policy="discard"),
        Forked(scores, policy=Rederive("ratings", COUNT_RATINGS)),
        Shared(events),
        Shared(ratings),
        *(_later(meta) if later else ()),
    )


COUNT_RATINGS = (
    "INSERT INTO scores AS s (film_id, n) SELECT film_id, count(*) FROM replayed GROUP BY film_id"
    " ON CONFLICT (film_id) DO UPDATE SET n = s.n + excluded.n"
)


def _later(meta: sa.MetaData) -> tuple[Declared, ...]:
    extras = sa.Table(
        "extras",
        meta,
        sa.Column("extra_id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("text", sa.Text),
    )
    clicks = sa.Table(
        "clicks",
        meta,
        sa.Column("click_no", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("token", sa.Text, unique=True),
        sa.Column("film_id", sa.Integer),
        sa.Index("clicks_film", "film_id"),
    )
    return Forked(extras), Shared(clicks)


BUILDER_SOURCE = (
    "def content(context):\n    yield []\n\n\ndef titles(context):\n    yield []\n\n\n"
    "def covers(context):\n    yield []\n"
)


def _content(context: BuildContext) -> Iterator[Batch]:
    after = int(context.resume_after or 0)
    rows = context.source(
        "films", "SELECT film_id, title FROM films WHERE film_id > %s ORDER BY film_id", [after]
    )
    found = [{**row, "embedding": [row["film_id"], 1.0, 0.0]} for row in rows]
    for first in range(0, len(found), 3):
        batch = found[first : first + 3]
        yield Batch(batch, cursor=str(batch[-1]["film_id"]))


def _titles(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    yield [{"title": row["title"]} for row in context.rows("content")]


def _covers(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    for number in range(1, 4):
        yield [{"film_id": number}]


BUILDERS: Mapping[str, Build] = {"content": _content, "titles": _titles, "covers": _covers}

FILMS = (
    "CREATE TABLE films (film_id int PRIMARY KEY, title text)",
    "INSERT INTO films SELECT n, 'film ' || n FROM generate_series(1, 9) AS n",
)
FIRST_ROWS = (
    "INSERT INTO accounts (account_id, slot) SELECT g, g FROM generate_series(1, 20) AS g",
    "INSERT INTO items (account_id, item_no) SELECT g, 1 FROM generate_series(1, 20) AS g",
    "INSERT INTO notes (text) SELECT 'note ' || g FROM generate_series(1, 5) AS g",
    "INSERT INTO events (event_no, text) SELECT g, 'event ' || g FROM generate_series(1, 5) AS g",
)


def changes(first: int) -> tuple[str, ...]:
    """What an application writes: each kind of change, to rows from `first` on; each once."""
    return (
        f"UPDATE accounts SET n = n + 1 WHERE account_id IN ({first}, {first + 1})",
        f"DELETE FROM accounts WHERE account_id = {first + 2}",
        f"INSERT INTO accounts (account_id, slot) VALUES ({1000 + first}, {1000 + first})",
        f"INSERT INTO items (account_id, item_no) VALUES ({1000 + first}, 1)",
        f"UPDATE items SET item_no = 2 WHERE account_id = {first + 3}",
        f"UPDATE accounts SET slot = CASE account_id WHEN {first} THEN {first + 1} ELSE {first} END"
        f" WHERE account_id IN ({first}, {first + 1})",
        f"UPDATE notes SET text = 'changed' WHERE note_id = {first // 5 + 1}",
        f"INSERT INTO events (event_no, text) VALUES ({1000 + first}, 'later')",
    )


MOTTOS = ("UPDATE accounts SET motto = 'motto ' || account_id WHERE account_id <= 10",)


def rows_of_other_policies(first: int) -> tuple[str, ...]:
    """What an application writes to tables that are not carried; each once."""
    return (
        f"INSERT INTO drafts (draft_id, text) VALUES ({first}, 'draft'), ({first + 1}, 'draft')",
        f"DELETE FROM drafts WHERE draft_id = {first + 1}",
        f"INSERT INTO ratings (rating_no, film_id) VALUES ({first}, 1), ({first + 1}, {first})",
        f"INSERT INTO scores AS s (film_id, n) VALUES (1, 1), ({first}, 1)"
        " ON CONFLICT (film_id) DO UPDATE SET n = s.n + 1",
    )
