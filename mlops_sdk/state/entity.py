"""Which release writes an entity while traffic shifts, as SQL. Pure: it executes nothing."""

from psycopg import sql

from mlops_sdk.release.tables import TableSpec


def entity_column(spec: TableSpec) -> str | None:
    """The column whose bucket says who writes while traffic shifts; None where it is the live release alone."""
    return spec.writer.removeprefix("entity:") if spec.writer.startswith("entity:") else None


def bucket(app: str, relation: str, column: str) -> sql.Composed:
    """The bucket (0..255) of a row's entity: the same byte as `mlops_sdk.release.buckets.bucket`."""
    return sql.SQL("get_byte(sha256(convert_to({} || {}::text, 'UTF8')), 0)").format(
        sql.Literal(f"{app}:"), sql.Identifier(relation, column)
    )
