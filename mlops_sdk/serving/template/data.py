"""Data of a request as a DataFrame: given in the body, by URI (fsspec), or by SQL on a configured source.

What may be read is said when the server starts: a URI under one of its roots, a source by its name. Reading can take
long; it is never done on the event loop.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from mlops_sdk.errors import InputError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.registry.files import LOCAL, read_uri
from mlops_sdk.serving.template.table import checked

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 5_000_000
SQL_WITHIN_S = 300
MOST_FILE_BYTES = 2 * 2**30


class Data(BaseModel):
    """One data set, in exactly one of three ways.

    `data`: rows, as lists in the order of `columns`, or as objects. `uri`: a .csv, .parquet, .json (records) or .jsonl
    file, also .gz of the texts. `sql`: one SELECT on the source of that name.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    data: list[dict[str, Any]] | list[list[Any]] | None = Field(default=None, max_length=10_000)
    columns: list[str] | None = None
    uri: str | None = Field(default=None, min_length=1, max_length=2_000)
    sql: str | None = Field(default=None, min_length=1, max_length=20_000)
    source: str = "default"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(part is not None for part in (self.data, self.uri, self.sql)) != 1:
            raise ValueError("give exactly one of data, uri and sql")
        return self


def read_data(data: Data, *, roots: tuple[str, ...], sources: Mapping[str, SecretStr]) -> "pd.DataFrame":
    """The rows. Raises InputError for data that cannot be a table, PolicyError for a URI outside of the roots,

    NotFoundError for an unknown source, file or bucket, AuthError where a store refuses, UnreachableError where a store
    or database does not answer.
    """
    if data.data is not None:
        frame = _given(data.data, data.columns)
    elif data.uri is not None:
        frame = _read_file(allowed_uri(data.uri, roots))
    else:
        assert data.sql is not None  # one of the three
        frame = _query(data.sql, data.source, sources)
    return checked(frame)


def allowed_uri(uri: str, roots: tuple[str, ...]) -> str:
    """`uri`, if it is under one of the roots when links and `..` are followed. Raises PolicyError."""
    parts = urlsplit(uri)
    remedy = f"--data-root says what may be read: {', '.join(roots) or 'nothing'}"
    refused = PolicyError("the data's URI is not one that this server may read", remedy=remedy)
    # `a::b` is fsspec's way to read one file system through another.
    if "::" in uri or ".." in unquote(parts.path).split("/") or parts.query or parts.fragment:
        raise refused
    for root in roots:
        of = urlsplit(root)
        if parts.scheme in LOCAL and of.scheme in LOCAL:
            path = Path(unquote(parts.path)).resolve()
            if path.is_relative_to(Path(unquote(of.path)).resolve()):
                return str(path)
        elif _is_below(parts, of):
            return uri
    raise refused


def _is_below(parts: SplitResult, of: SplitResult) -> bool:
    same = (parts.scheme, parts.netloc) == (of.scheme, of.netloc) and of.scheme not in LOCAL
    return same and parts.path.startswith(of.path.rstrip("/") + "/")


def _given(rows: list[dict[str, Any]] | list[list[Any]], columns: list[str] | None) -> "pd.DataFrame":
    import pandas as pd

    if not rows:
        raise InputError("the data have no rows", where="data")
    if isinstance(rows[0], dict):
        if columns is not None:
            raise InputError("rows that are objects have their columns' names already", where="columns")
        return pd.DataFrame.from_records(rows)
    widths = {len(row) for row in rows}
    if len(widths) > 1 or (columns is not None and widths != {len(columns)}):
        raise InputError("every row must have as many values as there are columns", where="data")
    return pd.DataFrame(rows, columns=columns or [str(place) for place in range(widths.pop())])


def _read_file(uri: str) -> "pd.DataFrame":
    import pandas as pd

    name = urlsplit(uri).path.lower()
    text = name.removesuffix(".gz")
    compression: Any = "gzip" if text != name else None
    data = io.BytesIO(read_uri(uri, most_bytes=MOST_FILE_BYTES))
    try:
        if name.endswith((".parquet", ".pq")):
            return pd.read_parquet(data)
        if text.endswith(".csv"):
            return pd.read_csv(data, compression=compression)
        if text.endswith((".json", ".jsonl")):
            return pd.read_json(data, lines=text.endswith("l"), compression=compression)
    except (ValueError, OSError) as error:
        raise InputError(f"the file is no table: {error}", where=uri) from error
    raise InputError("the data's URI ends with none of .csv, .parquet, .json, .jsonl", where=uri)


def _query(query: str, source: str, sources: Mapping[str, SecretStr]) -> "pd.DataFrame":
    import pandas as pd
    import psycopg

    if source not in sources:
        known = f"configured: {', '.join(sources)}" if sources else "none is configured (MLOPS_SOURCE_URL)"
        raise NotFoundError(f"no source {source!r}", remedy=known)
    # Read-only by the transaction; what it may read is the role's affair.
    options = f"-c default_transaction_read_only=on -c statement_timeout={SQL_WITHIN_S}s"
    try:
        with psycopg.connect(
            sources[source].get_secret_value(), options=options, connect_timeout=5, autocommit=True
        ) as conn:
            cursor = conn.execute(query.encode())
            if cursor.description is None:
                raise InputError("the query answers no rows", where="sql")
            rows = cursor.fetchmany(MOST_ROWS + 1)
            names = [column.name for column in cursor.description]
    except psycopg.OperationalError as error:
        kind = f"{type(error).__name__} {error.sqlstate or ''}".strip()
        raise UnreachableError(f"the source does not answer the query ({kind})", where=source) from None
    except psycopg.Error as error:
        raise InputError(f"the source refused the query: {error.diag.message_primary}", where="sql") from None
    if len(rows) > MOST_ROWS:
        raise InputError(f"the query has more than {MOST_ROWS:,} rows", where="sql")
    return pd.DataFrame.from_records(rows, columns=names)
