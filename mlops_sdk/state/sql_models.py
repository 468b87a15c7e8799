"""A model of a dbt project as the builder of a derived table: what it may read, and what its digest covers.

It reads files; what dbt does with them is `sql_build`'s.
"""

from pathlib import Path, PurePosixPath

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import BuilderSpec, TableSpec
from mlops_sdk.sql.project import read_project
from mlops_sdk.sql.run import dbt_versions
from mlops_sdk.state.declare import SqlModel


def sql_builder(declared: SqlModel, spec: TableSpec, root: Path) -> BuilderSpec:
    """The builder of a table from a model of the checkout at `root`.

    Raises InputError for a model that reads what the table does not declare, and for what SQL cannot read.
    """
    folder, name = PurePosixPath(declared.project), declared.model or spec.name
    if folder.is_absolute() or ".." in folder.parts:
        raise InputError(f"  the dbt project {folder} is not in the checkout; name a folder below its root")
    project = read_project(root / folder)
    where = f"model {name}"
    for key, given in (("models", spec.models), ("sources", spec.sources)):
        if given:
            raise InputError(
                f"{where} is SQL, which can use no {key}; leave out `{key}=`, or build the table in Python"
            )
    reads = project.reads(name)
    if undeclared := sorted(reads - set(spec.tables)):
        raise InputError(
            f"{where} reads {', '.join(undeclared)}, which its table does not declare; name it in `tables=`"
        )
    if missing := sorted(project.variables(name) - set(spec.parameters)):
        raise InputError(
            f"{where} uses variable {', '.join(missing)}, which its table does not declare; name it in `parameters=`"
        )
    return BuilderSpec(
        entry=f"{folder}:{name}", digest=project.digest(name), requirements=dbt_versions(), language="sql"
    )
