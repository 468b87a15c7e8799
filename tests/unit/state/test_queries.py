"""The named statements of the `.sql` files."""

from importlib.resources import files

import pytest
from psycopg import sql

from mlops_sdk.state.queries import query, statements

FILES = [file.name.removesuffix(".sql") for file in files("mlops_sdk.state").joinpath("sql").iterdir()]


@pytest.mark.parametrize("file", FILES)
def test_every_file_has_statements_without_their_comments(file: str) -> None:
    found = statements(file)
    assert found
    for text in found.values():
        assert text
        assert not text.endswith(";")
        assert "\n--" not in f"\n{text}"


def test_a_statement_is_asked_for_by_its_name() -> None:
    assert query("carry", "forget").format(
        pending=sql.Identifier("p"), target=sql.Literal(1)
    ).as_string() == ('DELETE FROM "p" WHERE mlops_target = 1')
    with pytest.raises(KeyError):
        query("carry", "nothing")
