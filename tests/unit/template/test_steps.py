"""The template pipeline's recipes and their data, without MLflow."""

import pytest

from mlops_sdk.errors import NotFoundError
from pipelines.template import steps


@pytest.mark.parametrize(
    ("model", "rows", "inputs", "classes"), [("iris", 150, 4, 3), ("breast-cancer", 569, 30, 2)]
)
def test_each_recipe_has_its_rows_with_the_target_as_a_column(
    model: str, rows: int, inputs: int, classes: int
) -> None:
    recipe = steps.recipe_of(model)
    frame = steps.read_data(recipe)
    assert frame.shape == (rows, inputs + 1)
    assert frame[recipe.target].nunique() == classes
    assert not frame.isna().any().any()
    assert all(name.isidentifier() for name in frame.columns)


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="there are iris, breast-cancer"):
        steps.recipe_of("wine")
