"""Tables as a client could send them: of whatever JSON has."""

from typing import Any

from hypothesis import strategies as st

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
    st.sampled_from([[], {}, [1, [2]], {"a": None}, "2026-01-01", "1e400"]),
)
NAMES = st.sampled_from([*COLUMNS, "species", "", "0"])


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Rows as a client could send them: of the model's columns or others, each cell of whatever JSON has."""
    if draw(st.booleans()):
        width = draw(st.integers(0, 6))
        rows: Any = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=4))
        return {"data": rows, "columns": draw(st.none() | st.lists(NAMES, min_size=width, max_size=width))}
    names = draw(st.sets(NAMES, max_size=6)) | set(draw(st.sampled_from([[], COLUMNS])))
    row = st.fixed_dictionaries(dict.fromkeys(sorted(names), CELLS))
    return {"data": draw(st.lists(row, max_size=3)) * draw(st.sampled_from([1, 1, 60]))}
