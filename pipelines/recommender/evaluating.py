"""How well a release recommends, on people and ratings that its models were not trained on: recall@k, as a gate.

    python -m pipelines.recommender.evaluating --k 50 --at-least 0.05

Of each held-out user (`steps.is_held_out`), what they liked among the labels of `generator.py`, which serving never
sees, is looked for in the first k films that the release recommends from their history: by its own tables, as its own
role, with its own reranker. It reads nothing but the process environment, and writes nothing.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection
from pydantic import SecretStr
from threadpoolctl import threadpool_limits

from mlops_sdk.errors import InputError, MlopsError, UnreachableError
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import Model, load
from mlops_sdk.runtime.settings import ServiceSettings
from pipelines.recommender.generator import LIKED_FROM
from pipelines.recommender.recommending import RERANKER_KEY, combine, recommend
from pipelines.recommender.service import candidates_of
from pipelines.recommender.steps import is_held_out

_LIKED = "SELECT user_id, film_id FROM labels WHERE rating >= %s ORDER BY user_id, film_id"
_HISTORY = "SELECT liked, met FROM histories WHERE user_id = %s"


@dataclass(frozen=True)
class Recall:
    """The mean recall@k of `users` people, and how far it may be off (one standard error)."""

    k: int
    mean: float
    error: float
    users: int


def recall_at(k: int, liked: Mapping[int, set[int]], recommended: Mapping[int, Sequence[int]]) -> Recall:
    """For each user, the share of what they liked that is among the first k recommended; then the mean.

    Users of whom nothing is liked do not count. Raises ValueError where there is nobody else.
    """
    shares = [
        len(films & set(recommended.get(user, ())[:k])) / len(films) for user, films in liked.items() if films
    ]
    if not shares:
        raise ValueError("nobody likes anything")
    mean = sum(shares) / len(shares)
    spread = sum((share - mean) ** 2 for share in shares) / max(len(shares) - 1, 1)
    return Recall(k, mean, (spread / len(shares)) ** 0.5, len(shares))


def read_held_out(source_url: SecretStr) -> dict[int, set[int]]:
    """What each held-out user likes, by the labels of the source database. Raises UnreachableError."""
    liked: dict[int, set[int]] = defaultdict(set)
    try:
        with psycopg.connect(source_url.get_secret_value(), connect_timeout=5) as connection:
            for user_id, film_id in connection.execute(_LIKED, [LIKED_FROM]):
                if is_held_out(user_id):
                    liked[user_id].add(film_id)
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable) as error:
        raise UnreachableError(
            "the source database gave no labels",
            where="MLOPS_SOURCE_URL",
            remedy="load it: python -m pipelines.recommender.source",
        ) from error
    return dict(liked)


async def recommended_to(
    settings: ServiceSettings, reranker: Model, users: Iterable[int], k: int
) -> dict[int, list[int]]:
    """The ids of the first k films that the release recommends to each user, by their history alone.

    Not by feedback since: the figure of a release is the same whenever it is asked for.
    """
    found: dict[int, list[int]] = {}
    async with await AsyncConnection.connect(
        settings.database_conninfo().get_secret_value(), autocommit=True
    ) as conn:
        for user in users:
            history = await (await conn.execute(_HISTORY, [user])).fetchone()
            taste = combine(history or ([], []), ([], []))
            best = await recommend(conn, reranker, taste, k=k, candidates=candidates_of(settings))
            found[user] = [each.film.film_id for each in best]
    return found


def evaluate(settings: ServiceSettings, k: int) -> Recall:
    """The release's recall@k.

    Raises UnreachableError for a database or a registry that does not answer, InputError for what no recall can be of.
    """
    if k < 1:
        raise InputError(f"{k} recommendations are none", where="--k", remedy="say 1 or more")
    if RERANKER_KEY not in settings.models:
        raise InputError(f"{settings.release} has no model `{RERANKER_KEY}`", where="the manifest's models")
    pin = settings.models[RERANKER_KEY]
    registry = Registry(settings.mlflow_tracking_uri)
    reranker = load(registry.download(pin.name, pin.version, pin.digest, settings.model_cache))
    liked = read_held_out(settings.source_url)
    if not liked:
        raise InputError(
            "no held-out user likes anything",
            where="the source's labels",
            remedy="load it: python -m pipelines.recommender.source",
        )
    # In one thread: those of predictions this small wait for each other longer than they work on a busy machine.
    try:
        with threadpool_limits(1):
            return recall_at(k, liked, asyncio.run(recommended_to(settings, reranker, liked, k)))
    except psycopg.OperationalError as error:
        raise UnreachableError("the release database did not answer", where="Postgres") from error


def main(arguments: Sequence[str]) -> int:
    """Print the figure; 0 if it is at least what was asked for, else 1, and 2 for what cannot be evaluated."""
    parser = argparse.ArgumentParser(prog="evaluating", description="recall@k on held-out users")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--at-least", type=float, required=True)
    options = parser.parse_args(arguments)
    try:
        found = evaluate(ServiceSettings.parse(), options.k)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the gate keeps it
        return error.exit_code
    print(  # noqa: T201 - the gate keeps it
        f"recall@{found.k} {found.mean:.4f} (standard error {found.error:.4f}) of {found.users} held-out users,"
        f" {options.at_least:g} is needed"
    )
    return 0 if found.mean >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
