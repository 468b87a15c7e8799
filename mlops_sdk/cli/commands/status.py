"""`mlops status ENV`: what is live, what runs, and whether the two agree."""

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say, table


def status(environment: Environment, output: Output = Form.table) -> None:
    """Show what is live and what runs.

    Show the live release, the releases that are kept, the platform's processes and addresses, and as drift what
    does not run as the ledger says.

    Ends with 1 if Postgres, which knows of releases, does not answer.
    """
    import typer

    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.ask import status as ask

    answer = ask(load_project(), environment)

    def show() -> None:
        if answer["problem"]:
            say(f"problem    {answer['problem']}")
            say(f"           `mlops up {environment}` starts what is down")
        else:
            say(f"live       {answer['live'] or 'nothing'}")
        if answer["hold"]:
            say(f"hold       {answer['hold']}")
        if answer["paused"]:
            say(f"paused     {answer['paused']} went on to a later environment")
        for release in answer["releases"]:
            if release["blocked"] is not None:
                say(f"blocked    {release['release']}: {release['blocked']}")
        if answer["deployer"]:
            say(f"deploying  {answer['deployer']}: what differs may be on its way")
        for name, address in answer["addresses"].items():
            say(f"{name:<10} {address}")
        say("")
        table(
            ("RELEASE", "DIGEST", "SLOT", "SERVICE", "MODELS"),
            [
                (r["release"], r["digest"][7:19], r["slot"], r["service"], ", ".join(r["models"].values()))
                for r in answer["releases"]
            ],
            empty="releases are not known"
            if answer["problem"]
            else "no release yet: `mlops deploy stacks/releases/TAG.yaml`",
        )
        say("")
        if answer["drift"]:
            table(
                ("DRIFT", "WHERE", "WHAT", "REMEDY"),
                [(d["part"], d["where"], d["what"], d["remedy"]) for d in answer["drift"]],
                empty="",
            )
            say("")
        table(
            ("PROCESS", "STATE", "PID"),
            [(p["name"], p["state"], str(p["pid"] or "-")) for p in answer["processes"]],
            empty="no process runs",
        )

    emit(answer, output, show)
    if answer["problem"]:
        raise typer.Exit(1)
