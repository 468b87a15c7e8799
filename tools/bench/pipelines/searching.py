"""The searches and questions of the bench of retrieval: 16 askers at once for so many seconds, each call timed.

It must not know how a table or a service came to be.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from psycopg import sql
from pydantic import SecretStr

from pipelines.recommender import recommending

AT_ONCE = 16
CANDIDATES, K = 200, 10
_COLUMNS = (
    "film_id, title, genre, director, year, running_time_min, budget_usd, gross_usd, imdb_rating, imdb_votes"
)
_STATEMENT = (
    "SELECT {columns} FROM {table} WHERE film_id <> ALL(%s) ORDER BY embedding <=> %s::vector LIMIT {limit}"
)


@dataclass(frozen=True)
class Query:
    """What the service searches for one user."""

    user_id: int
    met: list[int]
    vector: str


@dataclass
class Times:
    """Seconds by side, a list a round."""

    bare: list[list[float]] = field(default_factory=list)
    alone: list[list[float]] = field(default_factory=list)
    step: list[list[float]] = field(default_factory=list)
    whole: list[list[float]] = field(default_factory=list)


def bare_statement(table: str) -> sql.Composed:
    """The search as a person writes it, on the table itself."""
    return sql.SQL(_STATEMENT).format(
        columns=sql.SQL(_COLUMNS), table=sql.Identifier("store", table), limit=sql.Literal(CANDIDATES)
    )


async def connect_role(conninfo: SecretStr) -> psycopg.AsyncConnection[Any]:
    """A connection as the service's pool makes them."""
    return await psycopg.AsyncConnection.connect(
        conninfo.get_secret_value(), autocommit=True, prepare_threshold=None
    )


async def connect_bare(conninfo: SecretStr) -> psycopg.AsyncConnection[Any]:
    """A connection with the settings that the service searches with: equal recall is by equal settings."""
    conn = await connect_role(conninfo)
    await conn.execute("SET search_path = public, sdk_ext")
    await conn.execute("SELECT '[1]'::vector")  # loads the library, which knows the setting
    await conn.execute(
        f"SET hnsw.iterative_scan = strict_order; SET hnsw.ef_search = {recommending.in_view(CANDIDATES)}"
    )
    return conn


Search = Callable[[psycopg.AsyncConnection[Any], Query], Awaitable[object]]


def search_bare(
    queries: Sequence[Query], admin: SecretStr, statement: sql.Composed, seconds: float, seen: Times
) -> None:
    """Search by bare SQL for so long, by 16 connections."""

    async def search(conn: psycopg.AsyncConnection[Any], query: Query) -> object:
        return await (await conn.execute(statement, [query.met, query.vector])).fetchall()

    seen.bare.append(asyncio.run(_searches(queries, lambda: connect_bare(admin), search, seconds)))


def search_alone(queries: Sequence[Query], role: SecretStr, seconds: float, seen: Times) -> None:
    """Search by the service's own step for so long, by 16 connections of the release's role."""

    async def search(conn: psycopg.AsyncConnection[Any], query: Query) -> object:
        return await recommending.nearest(conn, query.vector, met=query.met, limit=CANDIDATES)

    seen.alone.append(asyncio.run(_searches(queries, lambda: connect_role(role), search, seconds)))


async def _searches(
    queries: Sequence[Query],
    connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]],
    search: Search,
    seconds: float,
) -> list[float]:
    """Seconds of each search by 16 connections."""
    connections = [await connect() for _ in range(AT_ONCE)]

    async def ask(lane: int, query: Query) -> None:
        await search(connections[lane], query)

    try:
        return await _at_once(queries, ask, seconds)
    finally:
        for conn in connections:
            await conn.close()


def ask_service(queries: Sequence[Query], url: str, seconds: float, seen: Times) -> None:
    """Ask the service for so long; what its retrieval step and its whole answers took."""

    async def asked() -> list[float]:
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:

            async def ask(lane: int, query: Query) -> None:
                del lane
                answer = await client.get("/recommend", params={"user_id": query.user_id, "k": K})
                answer.raise_for_status()

            return await _at_once(queries, ask, seconds)

    httpx.get(f"{url}/timings", trust_env=False)  # forget those before
    seen.whole.append(asyncio.run(asked()))
    seen.step.append(httpx.get(f"{url}/timings", trust_env=False).json())


async def _at_once(
    queries: Sequence[Query], ask: Callable[[int, Query], Awaitable[None]], seconds: float
) -> list[float]:
    """Seconds of each call, by 16 who each ask one after the other until the time is over."""
    times: list[float] = []
    until = time.perf_counter() + seconds

    async def lane(number: int) -> None:
        for query in _from(queries, number * len(queries) // AT_ONCE):
            began = time.perf_counter()
            if began > until:
                return
            await ask(number, query)
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(lane(number) for number in range(AT_ONCE)))
    return times


def _from(queries: Sequence[Query], start: int) -> Iterator[Query]:
    while True:
        yield queries[start % len(queries)]
        start += 1
