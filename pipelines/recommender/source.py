"""Loads films and the generated population into the source database, for builders and training to read.

`python -m pipelines.recommender.source` does it for the environment whose variables the process has. Loading
is idempotent: what is there already, by checksum, stays untouched. It must not touch the release database.
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, MlopsError, UnreachableError
from mlops_sdk.runtime.settings import OperatorSettings
from pipelines.recommender.films import Film, read_films
from pipelines.recommender.generator import Population, Rating, generate

# What readers are granted to; the platform creates it. Absent, nothing is granted.
READER = "source_reader"

# text is generated where it is composed, so that SQL readers see what the embedder sees.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS films (
    film_id          integer PRIMARY KEY,
    title            text NOT NULL,
    genre            text,
    director         text,
    distributor      text,
    source           text,
    year             integer NOT NULL,
    running_time_min integer,
    budget_usd       bigint,
    gross_usd        bigint,
    imdb_rating      double precision,
    imdb_votes       integer,
    text             text NOT NULL
);
CREATE TABLE IF NOT EXISTS users (user_id bigint PRIMARY KEY);
CREATE TABLE IF NOT EXISTS interactions (
    user_id bigint NOT NULL REFERENCES users,
    film_id integer NOT NULL REFERENCES films,
    rating  smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    PRIMARY KEY (user_id, film_id)
);
CREATE TABLE IF NOT EXISTS labels (
    user_id bigint NOT NULL REFERENCES users,
    film_id integer NOT NULL REFERENCES films,
    rating  smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    PRIMARY KEY (user_id, film_id)
);
CREATE TABLE IF NOT EXISTS loaded (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    checksum text NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


@dataclass(frozen=True)
class Loaded:
    """What the source database holds after loading, in rows; `changed` is False if it was there already."""

    films: int
    users: int
    interactions: int
    labels: int
    changed: bool


def load_source(owner_url: SecretStr, films: Sequence[Film] | None = None) -> Loaded:
    """Make the source database hold `films` (default: the data file's) and the population over them.

    Raises UnreachableError or AuthError; in both cases, and when killed, nothing has changed.
    """
    films = read_films() if films is None else films
    population = generate(films)
    checksum = checksum_of(films, population)
    try:
        with psycopg.connect(owner_url.get_secret_value(), connect_timeout=5) as connection:
            changed = _load(connection, films, population, checksum)
    except psycopg.OperationalError as error:
        raise _unreachable(error) from error
    return Loaded(
        len(films), len(population.user_ids), len(population.interactions), len(population.labels), changed
    )


def checksum_of(films: Iterable[Film], population: Population) -> str:
    """sha256 over every value that `load_source` would write."""
    digest = hashlib.sha256(_SCHEMA.encode())
    for records in (tuple(films), population):
        digest.update(repr(records).encode())
    return digest.hexdigest()


def _load(
    connection: psycopg.Connection, films: Sequence[Film], population: Population, checksum: str
) -> bool:
    # Two loaders at once: the second waits here, then finds the first one's rows.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('pipelines.recommender.source'))")
    connection.execute(_SCHEMA)
    _grant_reader(connection)
    if connection.execute("SELECT 1 FROM loaded WHERE checksum = %s", [checksum]).fetchone():
        return False
    connection.execute("TRUNCATE films, users, interactions, labels, loaded")
    names = [field.name for field in fields(Film)]
    _copy(connection, "films", [*names, "text"], ((*asdict(film).values(), film.text) for film in films))
    _copy(connection, "users", ["user_id"], ((user_id,) for user_id in population.user_ids))
    for table, ratings in (("interactions", population.interactions), ("labels", population.labels)):
        _copy(connection, table, [field.name for field in fields(Rating)], map(astuple, ratings))
    connection.execute("INSERT INTO loaded (checksum) VALUES (%s)", [checksum])
    return True


def _grant_reader(connection: psycopg.Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone():
        reader = sql.Identifier(READER)
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(reader))
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(reader))


def _copy(
    connection: psycopg.Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _unreachable(error: psycopg.OperationalError) -> MlopsError:
    if error.sqlstate in ("28P01", "28000") or "authentication failed" in str(error):
        return AuthError(
            "the source database refused the password",
            where="MLOPS_SOURCE_OWNER_URL",
            remedy="run `mlops up ENV`",
        )
    return UnreachableError(
        "the source database did not answer", where="MLOPS_SOURCE_OWNER_URL", remedy="run `mlops up ENV`"
    )


def main() -> int:
    """Load, and print one line about what is there."""
    try:
        loaded = load_source(OperatorSettings.parse().source_owner_url)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    state = "loaded" if loaded.changed else "already there"
    print(  # noqa: T201 - a program that prints
        f"source {state}: {loaded.films:,} films, {loaded.users:,} users, "
        f"{loaded.interactions:,} interactions, {loaded.labels:,} labels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
