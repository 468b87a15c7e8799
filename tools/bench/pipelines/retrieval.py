"""The retrieval step inside `/recommend` beside the same search in bare pgvector SQL, 16 at once, on one server.

Both search one table with one HNSW index, and return the same rows. Ours is what the running service awaits in its
answer: through the release's view, as its role, by the service's own pool, while it reranks for others. Bare are 16
connections of psycopg on the table itself, which do nothing else.
"""

import asyncio
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError
from mlops_sdk.registry.client import Registry
from mlops_sdk.release.binding import Binding
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.state.specs import describe_state
from pipelines.recommender import recommending, registering, steps
from pipelines.recommender.tables import STATE
from tools.bench.figures import Bar, Figure, percentile
from tools.bench.page import ROOT
from tools.bench.pipelines.items import Items, exact_nearest, make_items
from tools.bench.pipelines.release_service import running_service
from tools.bench.pipelines.release_settings import settings_of
from tools.bench.pipelines.searching import (
    AT_ONCE,
    CANDIDATES,
    K,
    Query,
    Times,
    ask_service,
    bare_statement,
    connect_bare,
    connect_role,
    search_alone,
    search_bare,
)
from tools.bench.running import Found, Say
from tools.bench.serving.servers import Servers
from tools.bench.state.releases import Releases
from tools.bench.state.server import Server, database

BAR, RECALL_BAR = Bar(1.5), Bar(0.95, at_least=True)
# A graph that does not fit into memory is built some ten times slower: a bench of 20 minutes has no time for that.
_INDEX_MEMORY, _INDEX_TIME = "2GB", "15min"


@dataclass(frozen=True)
class Size:
    """How many items are generated beside the films, one table each; rounds of so many seconds a side."""

    generated: tuple[int, ...]
    rounds: int
    seconds: float


FULL = Size((0, 1_000_000), rounds=5, seconds=10)
QUICK = Size((0, 50_000), rounds=1, seconds=4)


def measure(server: Server, size: Size, say: Say) -> Found:
    """Return for each table p99 of both sides, ours by theirs, recall, and the whole answer's time.

    Raises NotFoundError where Postgres has no pgvector.
    """
    with server.admin() as conn:
        require_pgvector(conn)
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as made, Servers(Path(made), say) as servers:
        folder, registry = Path(made), servers.mlflow_registry()
        reranker: ModelPin | None = None
        for number, generated in enumerate(size.generated):
            items = make_items(generated)
            reranker = reranker or _reranker(registry, items, folder)
            with database(server, f"retrieval_{number}") as name:
                found += _measure(server, name, items, registry, reranker, folder, size, say)
    return found, [
        "Retrieval: a value is the 99th percentile of a round, or its median where it says so. The sides go in turns, "
        f"{AT_ONCE} askers each: the {CANDIDATES} nearest items with their facts, HNSW (m 16, ef_construction 128; "
        f"ef_search {recommending.in_view(CANDIDATES)}, iterative scan in strict order). Bare SQL and the step alone "
        f"have {AT_ONCE} connections that do nothing else; inside /recommend the service's pool of 4 is at work, "
        "between rerankings: Postgres then has less to do. Generated items are real films whose vector is moved by "
        "noise (cosine about 0.8). Recall is of the 10 nearest, held to an exact search of the same vectors: the "
        "generator's users' mean."
    ]


def require_pgvector(conn: psycopg.Connection[Any]) -> None:
    """Raise NotFoundError where this server cannot have pgvector."""
    if not conn.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").rowcount:
        raise NotFoundError("this Postgres has no pgvector", remedy="`make setup` brings one that has it")


def figures(times: Times, recalls: tuple[float, float], items: int) -> list[Figure]:
    """The figures of one table. Pure."""
    how = f"{items:,} items, {AT_ONCE} at once"
    bare, alone, step, whole = (
        [1000 * percentile(seconds, 99) for seconds in each]
        for each in (times.bare, times.alone, times.step, times.whole)
    )
    return [
        Figure("retrieval, p99: bare pgvector SQL", how, "ms", bare),
        Figure("retrieval, p99: the step alone, nothing else to do", how, "ms", alone),
        Figure("retrieval, p99: inside /recommend", how, "ms", step),
        Figure(
            "retrieval, p99: the step alone by bare SQL",
            how,
            "x",
            [own / other for own, other in zip(alone, bare, strict=True)],
            BAR,
        ),
        Figure(
            "retrieval, p99: inside /recommend by bare SQL",
            how,
            "x",
            [own / other for own, other in zip(step, bare, strict=True)],
            BAR,
        ),
        Figure("retrieval: recall@10 of bare SQL", how, "", [recalls[0]], RECALL_BAR),
        Figure("retrieval: recall@10 of /recommend's search", how, "", [recalls[1]], RECALL_BAR),
        Figure(f"/recommend, whole, {CANDIDATES} reranked, p99", how, "ms", whole),
        Figure(
            f"/recommend, whole, {CANDIDATES} reranked, median",
            how,
            "ms",
            [1000 * statistics.median(seconds) for seconds in times.whole],
        ),
    ]


def _measure(
    server: Server,
    name: str,
    items: Items,
    registry: str,
    reranker: ModelPin,
    folder: Path,
    size: Size,
    say: Say,
) -> list[Figure]:
    binding, table = _release(server, name, items)
    say(f"{len(items.vectors):,} items are there, with their index")
    queries = _queries(items)
    statement = bare_statement(table)
    admin, role = server.conninfo(name), server.conninfo(name, binding.role)
    recalls = asyncio.run(_recalls(items, queries, admin, statement, role))
    settings = _settings(server, name, binding, registry, reranker, folder)
    times = Times()
    with running_service(settings, folder / f"{name}.log") as url:
        for number in range(size.rounds + 1):
            seen = Times()
            sides: list[Callable[[], None]] = [
                partial(search_bare, queries, admin, statement, size.seconds, seen),
                partial(search_alone, queries, role, size.seconds, seen),
                partial(ask_service, queries, url, size.seconds, seen),
            ]
            for side in sides if number % 2 else reversed(sides):
                side()
            if number:  # the first round warms up
                times.bare += seen.bare
                times.alone += seen.alone
                times.step += seen.step
                times.whole += seen.whole
    return figures(times, recalls, len(items.vectors))


def _release(server: Server, name: str, items: Items) -> tuple[Binding, str]:
    """A live release of the recommender with these items, and the name of the table of them in `store`."""
    releases = Releases(server, name)
    with server.admin(name) as conn:
        conn.execute(
            sql.SQL("ALTER FUNCTION store.build_finish(int) SET maintenance_work_mem = {}").format(
                sql.Literal(_INDEX_MEMORY)
            )
        )
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET statement_timeout = {}").format(
                sql.Identifier(name), sql.Literal(_INDEX_TIME)
            )
        )
    # Their rows come from here, not from a source and an embedder of the registry.
    own: dict[str, tuple[()]] = {"models": (), "sources": ()}
    tables = [
        spec.model_copy(update=own) if spec.kind == "derived" else spec
        for spec in describe_state(STATE, ROOT).values()
        if spec.kind != "shared"
    ]
    binding = releases.bind("v0.0.1", tables)
    releases.build(
        binding,
        {"content": lambda _: items.contents(), "histories": lambda _: iter([items.histories()])},
    )
    releases.fork(binding)
    releases.cut(binding)
    releases.make_live("v0.0.1")
    with server.admin(name) as conn:
        row = conn.execute("SELECT physical FROM mlops.physical WHERE table_name = 'content'").fetchone()
    assert row is not None
    return binding, str(row[0])


def _reranker(registry: str, items: Items, folder: Path) -> ModelPin:
    """The demo's second reranker, trained on the generated ratings and registered."""
    recipe = steps.RECIPES[-1]
    version = registering.ensure_registered(
        registry, recipe, items.dataset.checksum, lambda: steps.train(recipe, items.dataset)
    )
    fetched = Registry(registry).fetch(recipe.model, version, folder / "cache")
    return ModelPin(name=recipe.model, version=version, digest=fetched.digest)


def _settings(
    server: Server, name: str, binding: Binding, registry: str, reranker: ModelPin, folder: Path
) -> ServiceSettings:
    return settings_of(
        server,
        name,
        binding,
        mlflow_tracking_uri=registry,
        model_cache=folder / "cache",
        service="tools.bench.pipelines.timed_service:create_app",
        service_port=free_ports(1)[0],
        models={recommending.RERANKER_KEY: reranker},
        parameters={"candidates": CANDIDATES},
    )


def _queries(items: Items) -> list[Query]:
    """What the service searches for each user that likes something, by its own mean."""
    return [
        Query(
            row["user_id"],
            row["met"],
            recommending.mean_vector([items.vectors[film].tolist() for film in row["liked"]]),
        )
        for row in items.histories()
        if row["liked"]
    ]


async def _recalls(
    items: Items, queries: Sequence[Query], admin: SecretStr, statement: sql.Composed, role: SecretStr
) -> tuple[float, float]:
    """The share of the 10 nearest that bare SQL, and the service's own search, find; the mean of all users."""
    bare, ours = await connect_bare(admin), await connect_role(role)
    shares: tuple[list[float], list[float]] = [], []
    try:
        for query in queries:
            wanted = set(
                exact_nearest(
                    items.vectors, np.asarray(json.loads(query.vector), dtype=np.float32), query.met, K
                )
            )
            rows = await (await bare.execute(statement, [query.met, query.vector])).fetchall()
            films = await recommending.nearest(ours, query.vector, met=query.met, limit=CANDIDATES)
            shares[0].append(len(wanted & {row[0] for row in rows[:K]}) / K)
            shares[1].append(len(wanted & {film.film_id for film in films[:K]}) / K)
    finally:
        await bare.close()
        await ours.close()
    return statistics.fmean(shares[0]), statistics.fmean(shares[1])
