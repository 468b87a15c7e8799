"""`mlops state ls|gc|pin|unpin`: what is kept, what it takes, and what may go."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, EnvironmentOption, Form, Output, Reason
from mlops_sdk.cli.output import emit, say, table

ReleaseName = Annotated[str, typer.Argument(help="A tag, a digest or an address.", metavar="RELEASE")]


def ls(environment: Environment, output: Output = Form.table) -> None:
    """Show what kept releases' tables take.

    Show the kept releases with their tables, rows (estimated) and bytes: their own, and what they share with others.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import tables

    answer = tables(load_project(), environment)

    def show() -> None:
        for release in answer["releases"]:
            pinned = f", pinned: {'; '.join(release['pins'])}" if release["pins"] else ""
            shared = release["shared_bytes"]
            more = f", {_size(shared)} shared with others" if shared else ""
            say(
                f"{release['release']} ({release['slot']}, {release['status']}{pinned}):"
                f" {_size(release['own_bytes'])} of its own{more}"
            )
            for row in release["tables"]:
                say(f"  {_line(row)}")
        totals = answer["totals"]
        say("")
        table(
            ("TOTAL", "SIZE"),
            [(name.replace("_", " "), _size(size)) for name, size in totals.items()],
            empty="",
        )

    emit(answer, output, show)


def gc(
    environment: Environment,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what a run would do; changes nothing.")
    ] = False,
    output: Output = Form.table,
) -> None:
    """Drop tables that no kept or planned release needs.

    Drop what no kept, planned or pinned release needs, and say of the rest why it stays. What no record knows is
    shown and never dropped.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import collect

    answer = collect(load_project(), environment, dry_run=dry_run)

    def show() -> None:
        verb = "would drop" if dry_run else "dropped"
        for item in answer["dropped"]:
            say(f"{verb} {item['kind']} {item['name']} ({_size(item['bytes'])})")
        for item in answer["left"]:
            say(f"left {item['kind']} {item['name']}: {item['why']}")
        for item in answer["orphans"]:
            say(f"orphan {item['kind']} {item['name']}: no record knows it; it is never dropped here")
        if not answer["dropped"]:
            say(f"{environment}: nothing to drop")

    emit(answer, output, show)


def pin(
    release: ReleaseName,
    reason: Annotated[str, typer.Option("--message", "-m", help="Why, for the ledger. Needed.")],
    environment: EnvironmentOption = "local",
    output: Output = Form.table,
) -> None:
    """Keep a release's tables, whatever becomes of it."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import pin as keep

    answer = keep(load_project(), environment, release, reason=reason)
    emit(answer, output, lambda: say(f"{answer['release']} is pinned in {environment}: {reason}"))


def unpin(
    release: ReleaseName,
    reason: Reason = "",
    environment: EnvironmentOption = "local",
    output: Output = Form.table,
) -> None:
    """End a release's pins, those of a rollback with policy discard too."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import unpin as end

    answer = end(load_project(), environment, release, reason=reason)
    words = f"is no longer pinned: {'; '.join(answer['ended'])}" if answer["ended"] else "was not pinned"
    emit(answer, output, lambda: say(f"{answer['release']} {words}"))


def _line(row: dict[str, object]) -> str:
    rows = "" if row["rows"] is None else f", {row['rows']:,} rows"
    state = f", {row['state']}" if row["state"] else ""
    shared = f", shared with {row['shared_with']} releases" if row["shared_with"] else ""
    where = f"  {row['physical']}" if row["physical"] else ""
    return f"{row['table']} ({row['kind']}{state}{shared}{rows}): {_size(row['bytes'])}{where}"


def _size(count: object) -> str:
    """Bytes for people: 8.0 KiB."""
    assert isinstance(count, int)
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
