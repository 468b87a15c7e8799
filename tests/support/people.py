"""Forked tables with all that a carry must keep right: composite keys, references with actions, a table that refers
to itself, unique names that swap, a generated column, a vector, a shared sequence.
"""

from typing import Any

import sqlalchemy as sa
from pgvector.sqlalchemy import Vector

from mlops_sdk.state import Forked, State
from tests.support.releases import Releases
from tests.support.tables import metadata

KEYS = {"people": "team, person", "notes": "note", "badges": "badge"}


def people_state(*extra: sa.Column[Any]) -> State:
    """People of teams, each perhaps with a boss; notes go with their person, badges stay without."""
    meta = metadata()
    people = sa.Table(
        "people",
        meta,
        sa.Column("team", sa.Text, primary_key=True),
        sa.Column("person", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("boss", sa.Integer),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("score", sa.Integer, nullable=False, server_default="0"),
        sa.Column("doubled", sa.Integer, sa.Computed("score * 2")),
        sa.Column("face", Vector(3)),
        *extra,
        sa.ForeignKeyConstraint(
            ["team", "boss"], ["people.team", "people.person"], name="people_boss", ondelete="CASCADE"
        ),
        sa.Index("people_face", "face", postgresql_using="hnsw", postgresql_ops={"face": "vector_l2_ops"}),
    )
    notes = sa.Table(
        "notes",
        meta,
        sa.Column("note", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("person", sa.Integer, nullable=False),
        sa.Column("words", sa.Text),
        _of_person("notes_person", ondelete="CASCADE", onupdate="CASCADE"),
    )
    badges = sa.Table(
        "badges",
        meta,
        sa.Column("badge", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("team", sa.Text),
        sa.Column("person", sa.Integer),
        _of_person("badges_person", ondelete="SET NULL", onupdate="CASCADE"),
    )
    return State(Forked(people), Forked(notes), Forked(badges))


def _of_person(name: str, **actions: Any) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["team", "person"], ["people.team", "people.person"], name=name, **actions)


def add_people(conn: Any, count: int = 20) -> None:
    """`count` people in two teams, each second with a boss, with a note and a badge each."""
    conn.execute(
        "INSERT INTO people (team, person, boss, name, face) SELECT 'team ' || n % 2, n,"
        " CASE WHEN n > 2 THEN 1 + (n + 1) % 2 END, 'name ' || n, format('[%s,1,1]', n)::vector"
        " FROM generate_series(1, " + str(count) + ") AS n"
    )
    conn.execute("INSERT INTO notes (team, person, words) SELECT team, person, name FROM people")
    conn.execute("INSERT INTO badges SELECT person, team, person FROM people")


def rows(releases: Releases, tag: str) -> dict[str, list[Any]]:
    """What the release's tables hold."""
    with releases.connect(tag) as conn:
        return {
            table: conn.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY {key}".encode()).fetchall()
            for table, key in KEYS.items()
        }
