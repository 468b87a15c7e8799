"""Movies: a model rates every film for a date; the next model's ratings go with it when it is rolled back."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from tools.demo.pipelines.dates import Victim, have_done, next_day
from tools.demo.pipelines.stage import Changes, Stage, environment_folder
from tools.demo.pipelines.versions import versions

SECOND = "tools/demo/pipelines/movies.yaml"
FIRST_DAY = date(2026, 1, 1)
SHOWN = (7, 1000, 2000)
_RATED = """
SELECT count(*), sqrt(avg((predicted - rated) ^ 2)), stddev_pop(rated), min(model_version), max(model_version)
  FROM film_ratings WHERE run_date = %s
"""


@dataclass
class Movies:
    """The part of the movie ratings."""

    stage: Stage
    kill: Victim | None
    name: str = "movies"
    manifest: str = "pipelines/movies/releases/v0.0.1.yaml"
    _days: dict[str, date] = field(default_factory=dict)

    def prepare(self) -> tuple[Changes, Changes]:
        """Train with the fixed configuration, then with another one; each version was accepted."""
        self.stage.python("pipelines.recommender.source")
        self.stage.python("pipelines.movies.flow", "automated")
        self.stage.python("pipelines.movies.flow", "automated", "--configuration", SECOND)
        known = versions(self.stage, "movie-rating")
        self.stage.require(len(known) > 1, f"both models were accepted: versions {known}")
        return {"models.rating.version": known[0]}, {"models.rating.version": known[-1]}

    def use(self, tag: str) -> None:
        """Have the films of a date rated, and compare with what the model says when it is asked here."""
        day = next_day(self.stage, "ratings", FIRST_DAY)
        have_done(self.stage, tag, "ratings", day, None if self._days else self.kill)
        self._days[tag] = day
        with self.stage.connect(tag) as conn:
            row = conn.execute(_RATED, [day]).fetchone()
            assert row is not None
            films, rmse, deviation, version, last = row
            wrong = self._wrong(conn, day, version)
        self.stage.out.say(
            f"  {films:,} films by version {version}: RMSE {rmse:.3f} on those with a rating, most of which it learned"
            f" from; the mean's is {deviation:.3f}"
        )
        self.stage.require(
            (films, last, wrong) == (3201, version, 0), f"{films:,} ratings are what version {version} says"
        )

    def look(self, tag: str) -> object:
        """What readers are answered of three films."""
        answers = [
            self.stage.ask(tag, "GET", "/rating", params={"film_id": film_id}).json() for film_id in SHOWN
        ]
        for each in answers:
            rated = each["rated"] if each["rated"] is not None else "nobody's"
            self.stage.out.say(
                f"    {each['predicted']:.2f} (rated {rated})  {each['title']}, version {each['model_version']}"
                f" of {each['run_date']}"
            )
        return answers

    def after(self, tag: str) -> None:
        """The first release has its own date, and none of the second's."""
        own = self._days[tag]
        (others,) = [day for release, day in self._days.items() if release != tag]
        with self.stage.connect(tag) as conn:
            days = {day for (day,) in conn.execute("SELECT DISTINCT run_date FROM film_ratings")}
        self.stage.require(
            own in days and others not in days, f"{tag} has its ratings of {own} and none of {others}"
        )

    def _wrong(self, conn: psycopg.Connection[Any], day: date, version: int) -> int:
        """How many rows are not what the registry's version says of the source's films, asked in this process."""
        from pydantic import SecretStr

        from mlops_sdk.registry.client import Registry
        from mlops_sdk.registry.load import load
        from pipelines.movies.extracting import extract
        from pipelines.movies.preparing import features_of

        source = extract(SecretStr(self.stage.settings["MLOPS_SOURCE_URL"])).rows
        cache: Path = environment_folder(self.stage.environment).parent / "models"
        fetched = Registry(self.stage.settings["MLFLOW_TRACKING_URI"]).fetch("movie-rating", version, cache)
        said = load(fetched.folder).predict(features_of(source))
        rows = conn.execute(
            "SELECT film_id, predicted FROM film_ratings WHERE run_date = %s", [day]
        ).fetchall()
        written = dict(rows)
        return sum(
            abs(written.get(film, 0.0) - min(10.0, max(1.0, one))) > 1e-9
            for film, one in zip(source["film_id"], said, strict=True)
        )
