"""One derived table by a model in SQL: dbt inserts into the attempt's table, as the attempt's role.

It must not count, index or seal: `fill` does, as for builders in Python.
"""

from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.sql.run import Target, run


def insert_by_sql(settings: BuildSettings, spec: TableSpec) -> int:
    """Run the model of a table's builder; how many rows it inserted, all of them in one transaction.

    Raises SqlError for a model that fails, InputError for a project that cannot be parsed.
    """
    assert spec.builder is not None  # `check` refuses a derived table without
    folder, _, model = spec.builder.entry.partition(":")
    order = settings.build
    target = Target(
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        user=settings.database_user,
        password=settings.database_password,
        schema="store",
        application=f"mlops build {spec.name}",
    )
    upstreams = {name: ["store", physical] for name, physical in order.upstreams.items()}
    given = settings.parameters
    variables = {
        **{name: given[name] if value is None else value for name, value in spec.parameters.items()},
        "mlops_places": {**upstreams, model: ["store", order.physical]},
        "mlops_release": upstreams,
        "mlops_columns": [column.name for column in spec.columns if column.generated is None],
    }
    found = run(Path.cwd() / folder, target, ["run", "--select", model], variables=variables, build=True)
    rows = next((result.rows for result in found if result.name == model), None)
    if rows is None:
        raise InputError(f"dbt did not run model {model}", where=folder, remedy="is it disabled?")
    return rows
