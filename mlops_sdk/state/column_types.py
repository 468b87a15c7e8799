"""Names of column types, as Postgres writes them itself. Pure; SQLAlchemy comes with the caller's tables."""

import re
from typing import Any

# Compared exactly, and the same text for the same value: a key is carried as text.
KEY_TYPES = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "text",
        "character varying",
        "uuid",
        "date",
        "boolean",
        "bytea",
        "timestamp with time zone",
        "timestamp without time zone",
    }
)
# What every release and every server reads alike. No oid and none of its aliases: they mean nothing elsewhere.
TYPES = KEY_TYPES | frozenset(
    {
        "real",
        "double precision",
        "character",
        "time with time zone",
        "time without time zone",
        "interval",
        "json",
        "jsonb",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "bit",
        "bit varying",
        "tsvector",
        "tsquery",
        "xml",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "int4range",
        "int8range",
        "numrange",
        "tsrange",
        "tstzrange",
        "daterange",
        "int4multirange",
        "int8multirange",
        "nummultirange",
        "tsmultirange",
        "tstzmultirange",
        "datemultirange",
        "vector",
        "halfvec",
        "sparsevec",
    }
)
_SYNONYMS = {
    "varchar": "character varying",
    "char": "character",
    "double": "double precision",
    "int": "integer",
    "decimal": "numeric",
    "bool": "boolean",
    "timestamp": "timestamp without time zone",
    "time": "time without time zone",
}


def type_name(type_: Any) -> str:
    """A SQLAlchemy type by Postgres's own name, such as `timestamp with time zone` or `numeric(10,0)`.

    Raises sqlalchemy.exc.SQLAlchemyError for a type that Postgres has not.
    """
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return normalised(str(type_.compile(dialect=dialect)))


def normalised(text: str) -> str:
    """A type as written, by Postgres's own name: another spelling of a type is no other type."""
    text = text.lower().replace(", ", ",")
    element, _, dimensions = text.partition("[")
    parts = re.fullmatch(r"([^()]*?)\s*(\([^()]*\))?( with(?:out)? time zone)?", element.strip())
    if parts is None:
        return text
    base, size, zone = parts[1], parts[2] or "", parts[3] or ""
    if base == "float":  # `float(p)` is one of two types
        base, size = ("real" if size and int(size[1:-1]) <= 24 else "double precision"), ""
    if base == "numeric" or base == "decimal":
        size = f"({size[1:-1]},0)" if size and "," not in size else size
    if base in ("char", "character", "bit") and not size:
        size = "(1)"
    if zone:
        name = f"{base}{size}{zone}"
    else:
        head, _, tail = _SYNONYMS.get(base, base).partition(" with")
        name = f"{head}{size}" + (f" with{tail}" if tail else "")
    return name + ("[]" if dimensions else "")  # Postgres keeps no number of dimensions


def base_type(type_: str) -> str:
    """A type without modifiers and array brackets: `timestamp with time zone` of `timestamp(3) with…[]`."""
    return re.sub(r"\([^()]*\)|\[\]", "", type_)
