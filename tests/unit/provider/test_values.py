"""Property values and plain values."""

from hypothesis import given
from hypothesis import strategies as st
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

from mlops_sdk.provider.values import changed, is_unknown, paths, plain, wrapped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_plain_values_survive_the_wire(value: object) -> None:
    assert plain(PropertyValue.unmarshal(wrapped(value).marshal())) == value


def test_what_is_computed_is_unknown() -> None:
    assert is_unknown(plain(PropertyValue.computed()))
    assert is_unknown({"a": ["b", UNKNOWN]})
    assert not is_unknown({"a": ["b"]})


def test_null_and_absent_are_the_same() -> None:
    assert changed({"a": 1, "b": None}, {"a": 1}) == []
    assert changed({"a": 1}, {"a": 2, "c": 0}) == ["a", "c"]


def test_paths_name_the_variable_that_differs() -> None:
    assert list(paths({"A": "1", "B": "2"}, {"A": "1", "B": "3"}, "values")) == ["values.B"]
