"""Builds table `content`: one row a film, with the embedder's vector of its text.

A change of this module or of what it imports is a rebuild, so it imports no more than it needs.
"""

from collections.abc import Iterator
from itertools import islice

import pandas as pd

from mlops_sdk.errors import InputError
from mlops_sdk.state.context import Batch, BuildContext

BATCH_ROWS = 1_000

# After a kill the builder goes on behind the last film that was stored.
_FILMS = """
    SELECT film_id, title, genre, director, year, running_time_min, budget_usd, gross_usd, imdb_rating,
           imdb_votes, text
    FROM films WHERE film_id > %s ORDER BY film_id
"""


def build_content(context: BuildContext) -> Iterator[Batch]:
    """Every film of the source, in batches that can be resumed. Raises InputError where there is none to recommend."""
    embedder = context.model("embedder")
    after = -1 if context.resume_after is None else int(context.resume_after)
    source = context.source("films", _FILMS, [after])
    while films := list(islice(source, BATCH_ROWS)):
        after = films[-1]["film_id"]
        vectors = embedder.predict(pd.DataFrame({"text": [film.pop("text") for film in films]}))
        rows = [{**film, "embedding": vector} for film, vector in zip(films, vectors, strict=True)]
        yield Batch(rows, cursor=str(after))
    if after < 0:
        raise InputError(
            "there are no films",
            where="source database, table films",
            remedy="load them: python -m pipelines.recommender.source",
        )
