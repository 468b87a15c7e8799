"""The vectors of films, without a database: what the builder is given, and where it goes on."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mlops_sdk.errors import InputError
from pipelines.recommender.content import build_content


class _Context:
    """A builder's context over films that are a list; the embedder's vector is the length of a text."""

    def __init__(self, films: Sequence[int], resume_after: str | None = None) -> None:
        self.films, self.resume_after = films, resume_after

    def model(self, _: str) -> Any:
        return SimpleNamespace(predict=lambda frame: [[len(text)] for text in pd.Series(frame["text"])])

    def source(self, _table: str, _query: str, parameters: Sequence[Any]) -> Iterator[dict[str, Any]]:
        (after,) = parameters
        return ({"film_id": film, "text": "a" * film} for film in self.films if film > after)


def _built(films: Sequence[int], resume_after: str | None = None) -> list[tuple[list[Any], str | None]]:
    batches = build_content(_Context(films, resume_after))  # type: ignore[arg-type]
    return [([dict(row) for row in batch.rows], batch.cursor) for batch in batches]


def test_each_film_gets_the_vector_of_its_text_and_a_killed_build_goes_on_behind_the_last_one() -> None:
    assert _built([1, 2]) == [([{"film_id": 1, "embedding": [1]}, {"film_id": 2, "embedding": [2]}], "2")]
    assert _built([1, 2], resume_after="1") == [([{"film_id": 2, "embedding": [2]}], "2")]
    assert _built([1, 2], resume_after="2") == []


def test_a_source_without_films_builds_no_empty_table() -> None:
    with pytest.raises(InputError, match="there are no films") as caught:
        _built([])
    assert "pipelines.recommender.source" in caught.value.remedy
