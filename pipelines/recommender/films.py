"""The films: reads the data file into clean records and composes the text that the embedder sees.

Pure and without third-party packages. It must not know about users, models or databases.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA_FILE = Path(__file__).parent / "data" / "movies.json"

# The data set was made in 2011: a two-digit year that was read as a later one is a century too late.
_LAST_YEAR = 2011


@dataclass(frozen=True)
class Film:
    """One row of the data file. `film_id` is its row number from 0; titles are not unique (remakes)."""

    film_id: int
    title: str
    genre: str | None
    director: str | None
    distributor: str | None
    source: str | None
    year: int
    running_time_min: int | None
    budget_usd: int | None
    gross_usd: int | None  # worldwide
    imdb_rating: float | None  # 1 to 10
    imdb_votes: int | None

    @property
    def text(self) -> str:
        """What the embedder sees: title, genre, director, distributor and source, those that are known."""
        return compose_text(self.title, self.genre, self.director, self.distributor, self.source)


def compose_text(*parts: str | None) -> str:
    """The known parts, joined by full stops so that no word pair spans two fields."""
    return ". ".join(part for part in parts if part)


def read_films(path: Path = DATA_FILE) -> tuple[Film, ...]:
    """Every film of the data file in its order.

    Raises OSError if the file cannot be read and ValueError if it is not such a file.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))
    return tuple(film_of(film_id, row) for film_id, row in enumerate(rows))


def film_of(film_id: int, row: dict[str, Any]) -> Film:
    """The film of one row: numeric titles become text, a missing title names the row, years are mended."""
    title = row["Title"]
    return Film(
        film_id=film_id,
        title=f"Untitled film {film_id}" if title is None else str(title),
        genre=row["Major Genre"],
        director=row["Director"],
        distributor=row["Distributor"],
        source=row["Source"],
        year=mended_year(int(row["Release Date"][-4:])),
        running_time_min=row["Running Time min"],
        budget_usd=row["Production Budget"],
        gross_usd=row["Worldwide Gross"],
        imdb_rating=None if row["IMDB Rating"] is None else float(row["IMDB Rating"]),
        imdb_votes=row["IMDB Votes"],
    )


def mended_year(year: int) -> int:
    """`year`, or a century earlier where the data set could not have known it."""
    return year - 100 if year > _LAST_YEAR else year
