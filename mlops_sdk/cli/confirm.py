"""Before a command changes an environment on a cluster, say which cluster that is, and for production ask."""

import sys

import typer


def confirm_place(environment: str, *, yes: bool) -> None:
    """Show context, server and namespace; nothing for an environment on this machine.

    In the project's last environment, where it has several, a person confirms. Raises InputError where nobody can be
    asked and `yes` was not given; typer.Abort if the answer is no.
    """
    from mlops_sdk.errors import InputError
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import is_production, where_it_is

    project = load_project()
    where = where_it_is(project, project.check_environment(environment))
    if not where:
        return
    typer.echo(f"{environment}: {where}", err=True)
    if not is_production(project, environment) or yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"{environment} is production, and nobody is there to confirm that it is in {where}",
            remedy="pass --yes",
        )
    typer.confirm(f"Go on in production, {where}?", abort=True, err=True)
