"""`mlops lock FILE`: resolve a manifest into its lock."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import AllowDirty, EnvironmentOption, Form, ManifestFile, Output, Quiet
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def lock(
    file: ManifestFile,
    environment: EnvironmentOption = "local",
    update: Annotated[bool, typer.Option("--update", help="Resolve again, although a lock exists.")] = False,
    allow_dirty: AllowDirty = False,
    output: Output = Form.table,
    quiet: Quiet = False,
) -> None:
    """Resolve a manifest into its lock.

    Resolve every ref and alias of a manifest and write FILE's lock beside it. An existing lock is used as it is.
    """
    from mlops_sdk.release.lock_file import lock_path
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking.lock import lock_manifest

    locked = lock_manifest(
        load_project(),
        environment,
        file,
        update=update,
        allow_dirty=allow_dirty,
        report=reporter(quiet=quiet),
    )

    def show() -> None:
        say(f"{locked.release}  {locked.digest}")
        say(f"code   {locked.code.commit}" + ("  (uncommitted changes)" if locked.code.dirty else ""))
        for key, model in locked.models.items():
            say(f"model  {key} = {model.name} {model.version}  {model.digest}")
        for path, data in locked.data.items():
            say(f"data   {path}  {data.md5}  ({data.words})")
        for name, table in locked.tables.items():
            say(f"table  {name} ({table.kind})")
        say(f"lock   {lock_path(file)}")

    emit({"digest": locked.digest, "lock": locked.document()}, output, show)
