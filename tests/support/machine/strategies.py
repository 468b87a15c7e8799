"""What hypothesis draws for a history: writes, shapes of tables, declarations, faults."""

from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from tests.support.machine.sessions import Fault
from tests.support.machine.tables import FAMILIES, FORKED, OPTIONAL, Declaration, Key, Shape

PEOPLE = range(3)
GROWS = sorted(name for name, table in FORKED.items() if table.grows)


@dataclass(frozen=True)
class Change:
    """One write to a table of the history: what it does to a row, as far as the row is there."""

    kind: Literal["put", "delete", "rekey", "swap", "append"]
    pick: int
    key: Key
    n: int


picks = st.integers(0, 5)
keys = st.tuples(st.sampled_from(PEOPLE), st.integers(0, 1))
changes = st.builds(
    Change,
    kind=st.sampled_from(["put", "put", "put", "delete", "rekey", "swap", "append", "append"]),
    pick=picks,
    key=keys,
    n=st.integers(0, 9),
)
writes = st.lists(changes, min_size=1, max_size=4)
shapes = st.builds(
    Shape,
    families=st.frozensets(st.sampled_from(sorted(FAMILIES)), min_size=1, max_size=2),
    derived=st.sampled_from([False, False, True]),
    person=st.sampled_from(["bigint", "text", "uuid"]),
    draft=st.sampled_from(["integer", "text"]),
    parts=st.booleans(),
)


declarations = st.builds(
    Declaration,
    shape=st.just(Shape()),  # the history's own takes its place
    left_out=st.frozensets(st.sampled_from(OPTIONAL)),
    extra=st.frozensets(st.sampled_from(GROWS)),
    noted=st.booleans(),
    size=st.integers(1, 2),
    factor=st.integers(1, 2),
    kept_long=st.booleans(),
)
faults = st.builds(Fault, at=st.integers(1, 60), how=st.sampled_from(["process", "session"]))
