"""The pure steps of the movie pipeline: names of data, checks, splits, what is learned, and who may be the champion."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from pipelines.movies import registering
from pipelines.movies.checking import check, require_ok
from pipelines.movies.evaluating import Evaluation, Margin, evaluate, judge, margin
from pipelines.movies.extracting import name_rows
from pipelines.movies.modes import candidates
from pipelines.movies.preparing import FEATURES, Examples, features_of, part_of, prepare
from pipelines.movies.raw import keep_raw, raw_path, read_raw
from pipelines.movies.training import Configuration, read_configuration, train
from pipelines.recommender.films import read_films

COLUMNS = [
    *(
        "film_id",
        "title",
        "year",
        "genre",
        "source",
        "distributor",
        "running_time_min",
        "budget_usd",
        "gross_usd",
    ),
    *("imdb_votes", "imdb_rating"),
]


@pytest.fixture(scope="module")
def films() -> pd.DataFrame:
    """The real films, as the warehouse answers them."""
    return pd.DataFrame([asdict(film) for film in read_films()])[COLUMNS]


@pytest.fixture(scope="module")
def quick() -> Configuration:
    return Configuration(max_iter=40)


def test_equal_rows_have_one_digest_whatever_types_a_reader_gave_them(films: pd.DataFrame) -> None:
    named = name_rows(films)
    assert name_rows(films.astype(object)).data_digest == named.data_digest
    assert name_rows(films.convert_dtypes()).data_digest == named.data_digest
    assert name_rows(films[::-1]).data_digest != named.data_digest
    changed = films.copy()
    changed.loc[7, "imdb_rating"] = 1.0
    assert name_rows(changed).data_digest != named.data_digest
    assert name_rows(films, "SELECT 1").query_digest != named.query_digest


def test_a_raw_extract_is_kept_once_and_is_read_as_what_its_name_says(
    films: pd.DataFrame, tmp_path: Path
) -> None:
    named = name_rows(films[:100])
    path = keep_raw(named, tmp_path)
    before = path.stat().st_mtime_ns
    assert keep_raw(named, tmp_path) == path
    assert path.stat().st_mtime_ns == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert read_raw(tmp_path, named.data_digest).data_digest == named.data_digest
    other = name_rows(films[:99])
    path.replace(raw_path(tmp_path, other.data_digest))
    with pytest.raises(PolicyError, match="the file holds"):
        read_raw(tmp_path, other.data_digest)
    with pytest.raises(NotFoundError):
        read_raw(tmp_path, named.data_digest)


def test_the_real_films_pass_every_check(films: pd.DataFrame) -> None:
    report = check(films)
    assert report.ok and report.rows == len(films) == 3201
    assert report.rated == int(films["imdb_rating"].notna().sum())
    require_ok(report)


def test_every_fault_of_an_extract_is_reported_at_once(films: pd.DataFrame) -> None:
    wrong = films.copy()
    wrong.loc[3, "imdb_rating"] = 77.0
    wrong.loc[4, "year"] = 2999
    wrong.loc[5, "film_id"] = 6
    report = check(wrong.drop(columns="genre"))
    assert {failure.column for failure in report.failures} == {"", "imdb_rating", "year", "film_id"}
    with pytest.raises(PolicyError) as refused:
        require_ok(report)
    for words in ("genre", "77.0", "2999", "film_id"):
        assert words in str(refused.value)
    assert report.document()["ok"] is False


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.3, 1.0), seed=st.integers(0, 2**32 - 1))
def test_a_film_is_in_the_same_part_whatever_else_there_is(
    films: pd.DataFrame, share: float, seed: int
) -> None:
    rows = films.sample(frac=share, random_state=seed)
    prepared = prepare(rows)
    rated = rows[rows["imdb_rating"].notna()]
    expected = rated["film_id"].map(part_of).value_counts().to_dict()
    assert {name: len(getattr(prepared, name)) for name in ("train", "validation", "test")} == expected


def test_too_few_films_are_refused_by_name(films: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="at least 50"):
        prepare(films[:120])


def test_unknown_values_are_missing_and_an_unseen_category_is_no_error(
    films: pd.DataFrame, quick: Configuration
) -> None:
    prepared = prepare(films)
    model = train(prepared.train, quick)
    row: dict[str, Any] = {"title": "x", "year": 2000, "genre": "a genre that nobody knows"}
    answer = model.predict(features_of(pd.DataFrame([{**dict.fromkeys(COLUMNS), **row}])))
    assert 1 <= float(answer[0]) <= 10
    assert list(prepared.train.features.columns) == list(FEATURES)


def test_the_same_rows_give_the_same_model_which_is_surely_better_than_the_mean(films: pd.DataFrame) -> None:
    prepared = prepare(films)
    one, two = (train(prepared.train, read_configuration()) for _ in range(2))
    assert np.array_equal(one.predict(prepared.test.features), two.predict(prepared.test.features))
    found = evaluate(one, prepared.train, prepared.test)
    assert 0 < found.over_mean.low < found.over_mean.value < found.over_mean.high
    assert found.over_mean.value == pytest.approx(found.mean_rmse - found.rmse)
    assert found.metrics()["rmse"] < 1.1


class Constant:
    """A model that always answers the same."""

    def __init__(self, rating: float) -> None:
        self.rating = rating

    def predict(self, features: pd.DataFrame) -> Any:
        return np.full(len(features), self.rating)


def test_the_first_model_must_beat_the_mean_and_a_later_one_not_fall_behind_the_champion() -> None:
    ratings = np.random.default_rng(3).normal(6, 1, 400)
    test = Examples(pd.DataFrame(index=range(400)), ratings)
    sure = Evaluation(400, 1.0, 1.2, Margin(0.2, 0.1, 0.3))
    unsure = Evaluation(400, 1.19, 1.2, Margin(0.01, -0.05, 0.07))
    good, bad = Constant(float(ratings.mean())), Constant(float(ratings.mean()) + 1)
    assert "not surely better" in judge(unsure, good, None, test).why
    assert judge(sure, good, None, test).accepted
    assert judge(sure, good, bad, test).accepted
    refused = judge(sure, bad, good, test)
    assert not refused.accepted and "worse than the champion" in refused.why
    assert judge(sure, good, good, test).accepted


@given(st.integers(0, 2**32 - 1))
def test_a_margin_of_a_model_over_itself_is_nothing(seed: int) -> None:
    errors = np.random.default_rng(seed).normal(size=60)
    assert margin(errors, errors) == Margin(0.0, 0.0, 0.0)
    found = margin(errors * 2, errors)
    assert found.low > 0 and found.low <= found.value <= found.high


def test_a_search_draws_the_same_for_the_same_seed_and_begins_with_the_default() -> None:
    assert list(candidates(8, 5)) == list(candidates(8, 5)) != list(candidates(8, 6))
    assert next(candidates(1, 9)) == Configuration()
    assert not list(candidates(0, 1))


def test_other_data_another_configuration_and_other_code_are_another_training(
    films: pd.DataFrame, quick: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        registering.training_digest(name_rows(rows), configuration)
        for rows, configuration in ((films, quick), (films, Configuration()), (films[1:], quick))
    ]
    (tmp_path / "preparing.py").write_text(registering.CODE[0].read_text() + "# another feature\n")
    monkeypatch.setattr(registering, "CODE", (tmp_path / "preparing.py", registering.CODE[1]))
    found.append(registering.training_digest(name_rows(films), quick))
    assert len(set(found)) == 4


def test_a_wrong_configuration_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_text("max_iter: 0\nlearning_rte: 1\n")
    with pytest.raises(InputError) as wrong:
        read_configuration(path)
    assert "max_iter" in str(wrong.value) and "learning_rte" in str(wrong.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path / "none.yaml")
