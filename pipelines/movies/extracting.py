"""Extract: the rows of one query, in one snapshot, ordered, with the digests that name them. It must not clean them.

The warehouse's table is append-only for this pipeline: it is read by a query whose text is part of the extract. Equal
digests are equal rows, so what a model was trained on can be fetched, compared, and found to have moved.
"""

from dataclasses import dataclass

import pandas as pd
import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.release.digest import digest_of

QUERY = """
SELECT film_id, title, year, genre, source, distributor, running_time_min, budget_usd, gross_usd, imdb_votes,
       imdb_rating
  FROM films
 ORDER BY film_id
"""


@dataclass(frozen=True, eq=False)
class Extract:
    """Rows as the warehouse had them, and what they are called: sha256 of the query's text, and of every value."""

    rows: pd.DataFrame
    query: str
    query_digest: str
    data_digest: str


def extract(source_url: SecretStr, query: str = QUERY) -> Extract:
    """Run `query` and name what it answers.

    Raises InputError for a table or column that is gone and for an empty answer, UnreachableError.
    """
    try:
        with psycopg.connect(source_url.get_secret_value(), connect_timeout=5) as connection:
            connection.read_only = True
            cursor = connection.execute(query.encode())
            columns = [column.name for column in cursor.description or ()]
            found = cursor.fetchall()
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
        raise InputError(
            f"the warehouse has not what the query reads: {error.diag.message_primary}",
            where="pipelines/movies/extracting.py",
            remedy="load the source (`python -m pipelines.recommender.source`), or change the query",
        ) from error
    except psycopg.OperationalError as error:
        raise UnreachableError(
            "the source database did not answer", where="MLOPS_SOURCE_URL", remedy="start it: `mlops up ENV`"
        ) from error
    if not found:
        raise InputError(
            "the extract is empty",
            where="films",
            remedy="load the source: `python -m pipelines.recommender.source`",
        )
    return name_rows(pd.DataFrame(found, columns=columns), query)


def name_rows(rows: pd.DataFrame, query: str = QUERY) -> Extract:
    """The extract of rows that a query has answered. Pure."""
    values = rows.astype(object).where(rows.notna(), None)
    data = {"columns": list(rows.columns), "rows": [list(map(_plain, row)) for row in values.to_numpy()]}
    return Extract(rows, query, digest_of({"query": query}), digest_of(data))


def _plain(value: object) -> object:
    """A number of numpy or a whole float as JSON has it, so that a column's type does not change the digest."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
