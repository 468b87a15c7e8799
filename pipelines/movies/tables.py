"""The table of a movies release: what its own model says of each film, by date. It must not touch a server."""

from sqlalchemy import Column, Date, Double, Integer, MetaData, Table, Text

from mlops_sdk.state.declare import Forked, State
from mlops_sdk.state.marks import marks_of

film_ratings = Table(
    "film_ratings",
    MetaData(),
    Column("run_date", Date, primary_key=True),
    Column("film_id", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("predicted", Double, nullable=False),  # points of IMDB, 1 to 10
    Column("rated", Double),  # what the warehouse had on that run; none: nobody rated the film
    Column("model_version", Integer, nullable=False),
)

# A row is one model's opinion, which can be had again: after a rollback the earlier model's own rows stand. To carry
# the later model's back would serve what the rollback was to end, and to rederive them there is no log.
_ratings = Forked(film_ratings, policy="discard")

STATE = State(_ratings, marks_of(_ratings))
