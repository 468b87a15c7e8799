"""A release behind PgBouncer in transaction mode: any two of its transactions may be in different sessions."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.database import create_pool
from mlops_sdk.serving.pointer import SlotReader
from mlops_sdk.serving.prediction_log import Prediction, PredictionLog
from mlops_sdk.state import BuildContext, Derived, Forked, Shared, State
from mlops_sdk.state.fill import Build
from tests.support.environment import MASTER_KEY, Environment
from tests.support.pooler import transaction_pooler
from tests.support.releases import Releases
from tests.support.tables import content, interactions, metadata, users

WRITERS = 8
WRITES = 10


def build_content(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    yield [{"film_id": n, "title": f"film {n}", "embedding": [n, 1.0, 0.0, 0.5]} for n in range(1, 101)]


BUILDERS: Mapping[str, Build] = {"content": build_content}


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    found = Releases(environment, tmp_path)
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        meta = metadata()
        derived = Derived(content(meta), builder="app.build:content")
        found.lock(tag, State(derived, Forked(users(meta)), Shared(interactions(meta))), service=service)
        found.prepare(tag, BUILDERS)
    found.make_live("v0.0.1")
    return found


def test_a_release_works_behind_a_transaction_pooler_through_a_handover(releases: Releases) -> None:
    first, second = (releases.bind(tag) for tag in ("v0.0.1", "v0.0.2"))
    passwords = {b.role: derive(MASTER_KEY, b.role).get_secret_value() for b in (first, second)}
    with transaction_pooler(releases.environment.database, passwords) as port:
        slots = asyncio.run(_serve(releases.service_settings(first.release, database_port=port), "current"))
        releases.make_live("v0.0.2")
        slots += asyncio.run(_serve(releases.service_settings(first.release, database_port=port), "next"))
        slots += asyncio.run(_serve(releases.service_settings(second.release, database_port=port), "current"))
    assert slots == ["current", "next", "current"]
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count FROM users WHERE user_id = 1").fetchone() == (2 * WRITERS * WRITES,)
        assert conn.execute("SELECT count(*) FROM interactions").fetchone() == (2 * WRITERS * WRITES,)
    with psycopg.connect(releases.environment.admin.get_secret_value()) as admin:
        assert admin.execute("SELECT count(*) FROM mlops.prediction_log").fetchone() == (150,)


async def _serve(settings: ServiceSettings, expected: str) -> list[str]:
    """What a service does: ask for its slot, search, write from many requests at once, log predictions."""
    async with create_pool(settings) as pool:
        slots = SlotReader(pool, environment="local", digest=settings.release_digest)
        slot = await slots.slot()
        lost: list[int] = []
        log = PredictionLog(
            settings.database_conninfo(), release_digest=settings.release_digest, dropped=lost.append
        )
        log.start()
        for n in range(50):
            log.add(Prediction(datetime.now(UTC), str(n), None, slot, "m", 1, {"n": n}, {}))
        await asyncio.gather(*(_write(pool, expected) for _ in range(WRITERS)))
        await log.stop()
        assert not lost
        async with pool.connection() as conn:
            nearest = (
                "SELECT film_id FROM content WHERE film_id > %s ORDER BY embedding <=> '[9,1,0,0.5]' LIMIT 20"
            )
            assert len(await (await conn.execute(nearest, [50])).fetchall()) == 20
            found = await (await conn.execute("SHOW hnsw.iterative_scan")).fetchone()
            assert found == ("strict_order",)
    return [slot]


async def _write(pool: Any, expected: str) -> None:
    for _ in range(WRITES):
        try:
            async with pool.connection() as conn, conn.transaction():
                await conn.execute(
                    "INSERT INTO users AS u (user_id, count) VALUES (%s, 1)"
                    " ON CONFLICT (user_id) DO UPDATE SET count = u.count + 1",
                    [1],
                )
                await conn.execute("INSERT INTO interactions (user_id, film_id) VALUES (%s, %s)", [1, 2])
            assert expected == "current"
        except psycopg.errors.InsufficientPrivilege:
            assert expected == "next"
