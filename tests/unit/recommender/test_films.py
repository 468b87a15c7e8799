"""What the recommender makes of its data file."""

from collections import Counter

from pipelines.recommender.films import compose_text, mended_year, read_films

FILMS = read_films()


def test_a_film_is_its_row_number() -> None:
    assert len(FILMS) == 3201
    assert [film.film_id for film in FILMS] == list(range(3201))


def test_titles_that_are_numbers_become_text_and_a_missing_one_names_its_row() -> None:
    titles = {film.title for film in FILMS}
    assert {"300", "1408", "21", "9"} <= titles
    untitled = [film for film in FILMS if film.title.startswith("Untitled film ")]
    assert [film.title for film in untitled] == [f"Untitled film {untitled[0].film_id}"]


def test_titles_that_occur_twice_stay_two_films() -> None:
    twice = {title for title, times in Counter(film.title for film in FILMS).items() if times == 2}
    assert len(twice) == 24
    assert sorted(film.year for film in FILMS if film.title == "King Kong")[1] == 2005


def test_years_that_the_data_set_could_not_know_are_a_century_earlier() -> None:
    assert (mended_year(2025), mended_year(2011), mended_year(1998)) == (1925, 2011, 1998)
    assert max(film.year for film in FILMS) <= 2011


def test_the_text_has_the_known_parts_only() -> None:
    assert compose_text("Kes", None, "Ken Loach", "", None) == "Kes. Ken Loach"
    assert all(film.text.startswith(film.title) for film in FILMS)
