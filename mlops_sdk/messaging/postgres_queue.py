"""A queue in Postgres: pgmq's own table, beside it a queue of dead letters, and the statements on both.

pgmq's functions create and drop queues. Reading and settling are statements of our own on pgmq's documented tables,
because pgmq has no read that keeps ordering keys without a look at the whole queue, and no move between queues in
one statement; pgmq's clients may use the same queue meanwhile. It must not decide what becomes of a message.
"""

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError

GROUP = "x-pgmq-group"  # pgmq's header for what it calls FIFO groups
_INSTALL_LOCK = 0x706D67  # any constant of ours: two updates at once install the functions once
_LONGEST_NAME = 40  # pgmq's limit is 47, and the dead letters' queue has a suffix

Connection = psycopg.Connection[Any]

# The oldest visible message of each ordering key, and any visible message without a key. Who holds the head of a key
# keeps all of the key: later ones are passed over until it is deleted. In a condition of its own, so that
# messages without a key cost no look at the others.
RECEIVE = """
WITH heads AS (
    SELECT q.msg_id FROM {queue} AS q
     WHERE q.vt <= clock_timestamp()
       AND (q.headers->>'x-pgmq-group' IS NULL OR NOT EXISTS (
            SELECT FROM {queue} AS earlier
             WHERE earlier.headers->>'x-pgmq-group' = q.headers->>'x-pgmq-group' AND earlier.msg_id < q.msg_id))
     ORDER BY q.msg_id LIMIT %(count)s
       FOR UPDATE SKIP LOCKED)
UPDATE {queue} AS q
   SET vt = clock_timestamp() + make_interval(secs => %(lease_s)s), read_ct = read_ct + 1,
       last_read_at = clock_timestamp()
  FROM heads WHERE q.msg_id = heads.msg_id
RETURNING q.msg_id, q.read_ct, q.message::text, q.headers->>'x-pgmq-group'
"""

# A delivery is known by its number and by the count of reads that it had: who lost the lease has another count.
_OURS = "UNNEST(%(ids)b::bigint[], %(reads)b::integer[]) AS ours(id, reads)"
_HELD = "q.msg_id = ours.id AND q.read_ct = ours.reads"

EXTEND = """
UPDATE {queue} AS q SET vt = clock_timestamp() + make_interval(secs => %(lease_s)s)
  FROM {ours} WHERE {held}
"""

ACKNOWLEDGE = "DELETE FROM {queue} AS q USING {ours} WHERE {held}"

GIVE_BACK = """
UPDATE {queue} AS q SET vt = clock_timestamp(), read_ct = q.read_ct - 1 FROM {ours} WHERE {held}
"""

# One statement, so that a message is in one of the two queues at any time. Headers that the publisher set stay.
BURY = """
WITH gone AS (
    DELETE FROM {queue} AS q USING {ours} WHERE {held}
    RETURNING q.message, q.headers, q.read_ct, q.enqueued_at)
INSERT INTO {dead} (vt, message, headers)
SELECT clock_timestamp(), message,
       coalesce(headers, '{{}}'::jsonb) || jsonb_build_object(
           'mlops-cause', %(cause)s::text, 'mlops-attempts', read_ct, 'mlops-published-at', enqueued_at)
  FROM gone
"""

DEAD = """
SELECT msg_id, message::text, headers->>'x-pgmq-group', headers->>'mlops-cause', (headers->>'mlops-attempts')::integer,
       coalesce((headers->>'mlops-replays')::integer, 0), enqueued_at
  FROM {dead} ORDER BY msg_id LIMIT %(limit)s
"""

DEAD_IDS = "SELECT msg_id FROM {dead} ORDER BY msg_id"

REPLAY = """
WITH gone AS (
    DELETE FROM {dead} WHERE msg_id = ANY(%(ids)s::bigint[]) RETURNING msg_id, message, headers),
back AS (
    INSERT INTO {queue} (vt, message, headers)
    SELECT clock_timestamp(), message,
           (headers - ARRAY['mlops-cause', 'mlops-attempts', 'mlops-published-at'])
           || jsonb_build_object('mlops-replays', coalesce((headers->>'mlops-replays')::integer, 0) + 1)
      FROM gone ORDER BY msg_id)
SELECT msg_id FROM gone ORDER BY msg_id
"""


def dead_queue(queue: str) -> str:
    """The name of a queue's queue of dead letters."""
    return f"{queue}_dead"


def statement(text: LiteralString, queue: str) -> sql.Composed:
    """A statement of this module for a queue."""
    return sql.SQL(text).format(
        queue=_table(queue), dead=_table(dead_queue(queue)), ours=sql.SQL(_OURS), held=sql.SQL(_HELD)
    )


def _table(queue: str) -> sql.Identifier:
    return sql.Identifier("pgmq", f"q_{queue}")


def check_name(queue: str) -> None:
    """Raises InputError for a name that no queue can have."""
    plain = (
        queue.isascii() and queue.replace("_", "a").isalnum() and queue == queue.lower() and queue[0] >= "a"
    )
    if not queue or not plain or len(queue) > _LONGEST_NAME:
        raise InputError(
            f"`{queue}` is no name for a queue",
            remedy=f"use at most {_LONGEST_NAME} of [a-z0-9_], a letter first",
        )


def create(conn: Connection, queue: str, *, users: tuple[str, ...] = ()) -> None:
    """Make the queue, its dead letters and what keeps order quick, unless they are there; install pgmq before.

    In one transaction, as the role that will own it; `users` are the roles that may publish and consume.
    """
    from pgmq.install import get_embedded_install_sql

    check_name(queue)
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [_INSTALL_LOCK])
        if not installed(conn):
            conn.execute(get_embedded_install_sql().encode())
        for name in (queue, dead_queue(queue)):
            if not exists(conn, name):
                conn.execute("SELECT pgmq.create(%s)", [name])
            for user in users:
                _allow(conn, name, user)
        conn.execute(
            sql.SQL(
                "CREATE INDEX IF NOT EXISTS {} ON {} ((headers->>'x-pgmq-group'), msg_id) "
                "WHERE headers->>'x-pgmq-group' IS NOT NULL"
            ).format(sql.Identifier(f"q_{queue}_order"), _table(queue))
        )


def drop(conn: Connection, queue: str) -> None:
    """Drop the queue and its dead letters with what is in them; nothing happens to what is not there."""
    if installed(conn):
        for name in (queue, dead_queue(queue)):
            if exists(conn, name):
                conn.execute("SELECT pgmq.drop_queue(%s)", [name])


def installed(conn: Connection) -> bool:
    """Whether pgmq is in this database."""
    row = conn.execute("SELECT to_regclass('pgmq.meta') IS NOT NULL").fetchone()
    return bool(row and row[0])


def exists(conn: Connection, queue: str) -> bool:
    """Whether pgmq has a queue of this name."""
    return bool(conn.execute("SELECT FROM pgmq.meta WHERE queue_name = %s", [queue]).rowcount)


def _allow(conn: Connection, queue: str, user: str) -> None:
    role = sql.Identifier(user)
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA pgmq TO {}").format(role))
    conn.execute(sql.SQL("GRANT SELECT ON pgmq.meta TO {}").format(role))
    conn.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(_table(queue), role))
