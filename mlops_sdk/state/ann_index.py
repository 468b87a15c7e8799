"""What pgvector's indexes for approximate search can be declared with. Pure."""

import re
from collections.abc import Iterator

from mlops_sdk.release.tables import IndexSpec, TableSpec
from mlops_sdk.state.ddl import is_column

_METHODS = ("hnsw", "ivfflat")
# The operator by which a search asks for each distance.
_OPERATORS = {"cosine": "<=>", "l2": "<->", "ip": "<#>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}
_OPCLASS = re.compile(rf"(vector|halfvec|sparsevec|bit)_({'|'.join(_OPERATORS)})_ops")
_TYPE = re.compile(r"(?:vector|halfvec|sparsevec|bit)\s*\(\s*\d+\s*\)", re.IGNORECASE)


def is_ann(index: IndexSpec) -> bool:
    """Whether it is an index for approximate search."""
    return index.method in _METHODS


def opclass(index: IndexSpec) -> str:
    """The operator class, or the one that pgvector takes where none is given."""
    return index.columns[0].opclass or "vector_l2_ops"


def operator(index: IndexSpec) -> str:
    """The operator of a search that the index answers. Raises KeyError for a class that is none."""
    return _OPERATORS[opclass(index).split("_")[1]]


def compared_type(spec: TableSpec, index: IndexSpec) -> str:
    """The type with its size: the column's, or what the expression casts to, such as `halfvec(512)`; or ""."""
    column = index.columns[0]
    text = spec.column(column.expression).type if is_column(column) else column.expression
    found = _TYPE.findall(text)
    return re.sub(r"\s", "", found[-1]).lower() if found else ""


def refusals(spec: TableSpec, index: IndexSpec) -> Iterator[str]:
    """What would fail only after the load, or never be used."""
    kind = _OPCLASS.fullmatch(opclass(index))
    type_ = compared_type(spec, index)
    if len(index.columns) != 1:
        yield f"index {index.name} has several columns; an index for approximate search has one"
    if index.columns[0].opclass is None and index.method == "hnsw":
        yield f"index {index.name} has no operator class; give one, such as vector_cosine_ops"
    elif kind is None:
        yield f"index {index.name} has operator class {opclass(index)}; use one of pgvector's, such as vector_l2_ops"
    elif not type_:
        yield f"index {index.name} is of a vector without dimensions; declare or cast to a type such as vector(384)"
    elif type_.partition("(")[0] != kind[1]:
        yield (
            f"index {index.name} has operator class {opclass(index)} for a {type_};"
            f" use {type_.partition('(')[0]}_{kind[2]}_ops"
        )
