"""The recommender's tables: what they hold, and exactly what the derived ones are built from.

`content` and `histories` are derived: built once from the source, then never changed. `users` is what
feedback has changed since, forked for each release and carried back by a rollback. `interactions` is the log
of all feedback, common to all releases.
"""

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from mlops_sdk.state.declare import Derived, Forked, Shared, Source, State

_metadata = MetaData()

# A digest over every row: whoever changes a row of the source makes another table to build.
_FILMS = Source(
    "films",
    watermark="SELECT count(*) || ':' || md5(string_agg(md5(f::text), '' ORDER BY film_id)) FROM films f",
)
_INTERACTIONS = Source(
    "interactions",
    watermark="SELECT count(*) || ':' || md5(string_agg(md5(i::text), '' ORDER BY user_id, film_id)) "
    "FROM interactions i",
)

content = Table(
    "content",
    _metadata,
    Column("film_id", Integer, primary_key=True, autoincrement=False),  # its row in data/movies.json
    Column("title", Text, nullable=False),
    Column("genre", Text),
    Column("director", Text),
    Column("year", Integer, nullable=False),
    Column("running_time_min", Integer),
    Column("budget_usd", BigInteger),
    Column("gross_usd", BigInteger),
    Column("imdb_rating", Double),
    Column("imdb_votes", Integer),
    Column("embedding", VECTOR(64), nullable=False),  # of length 1
    Index(
        "content_embedding",
        "embedding",
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "vector_cosine_ops"},
        postgresql_with={"m": 16, "ef_construction": 128},
    ),
)

histories = Table(
    "histories",
    _metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("liked", ARRAY(Integer), nullable=False),  # film ids, sorted
    Column("met", ARRAY(Integer), nullable=False),  # film ids, liked ones too, sorted
)

users = Table(
    "users",
    _metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("liked", ARRAY(Integer), nullable=False),  # film ids, in the order of feedback
    Column("met", ARRAY(Integer), nullable=False),  # film ids, liked ones too
    Column("feedback_count", Integer, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)

interactions = Table(
    "interactions",
    _metadata,
    Column("interaction_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("user_id", BigInteger, nullable=False),
    Column("film_id", Integer, nullable=False),
    Column("rating", SmallInteger),  # 1 to 5; none: liked without a rating
    Column("request_id", Text, nullable=False),
    Column("release", Text, nullable=False),  # tag of the release that accepted it
)

STATE = State(
    Derived(
        content,
        builder="pipelines.recommender.content:build_content",
        models=("embedder",),
        sources=(_FILMS,),
    ),
    Derived(
        histories,
        builder="pipelines.recommender.histories:build_histories",
        sources=(_INTERACTIONS,),
    ),
    Forked(users, policy="carry"),
    Shared(interactions),
)
