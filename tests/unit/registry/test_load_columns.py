"""Which columns of its input a scikit-learn model is given."""

import pandas as pd
import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.registry.load import SklearnModel


class Names:
    """An estimator that answers with the columns that it was given."""

    def predict(self, data: pd.DataFrame) -> list[str]:
        return list(data.columns)


def test_optional_columns_are_passed_on_when_they_are_there() -> None:
    model = SklearnModel(Names(), method="predict", columns=("a", "b"), optional=frozenset({"b"}))
    assert model.predict(pd.DataFrame({"c": [1], "b": [1], "a": [1]})) == ["a", "b"]
    assert model.predict(pd.DataFrame({"a": [1]})) == ["a"]
    with pytest.raises(InputError, match="lacks the columns a"):
        model.predict(pd.DataFrame({"b": [1]}))
