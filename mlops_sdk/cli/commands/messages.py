"""`mlops messages dead list|replay ENV`: messages that were given up, and how to have them handled after all."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say, table
from mlops_sdk.runtime.queues import EVENTS

app = typer.Typer(help="Look after an environment's messages.", no_args_is_help=True)
dead = typer.Typer(help="List or replay messages that were given up.", no_args_is_help=True)
app.add_typer(dead, name="dead")

Queue = Annotated[str, typer.Option("--queue", help="The queue.")]


@dead.command("list")
def list_(
    environment: Environment,
    queue: Queue = EVENTS,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many.")] = 100,
    output: Output = Form.table,
) -> None:
    """List messages that were given up, oldest first, with the cause of each."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.messages import dead_letters

    letters = dead_letters(load_project(), environment, queue, limit=limit)

    def show() -> None:
        rows = [
            [
                letter["id"],
                letter["kind"] or "?",
                letter["run_date"] or "",
                str(letter["attempts"]),
                str(letter["replays"]),
                letter["dead_since"],
                letter["cause"],
            ]
            for letter in letters
        ]
        columns = ["ID", "KIND", "RUN DATE", "ATTEMPTS", "REPLAYS", "DEAD SINCE", "CAUSE"]
        table(columns, rows, empty=f"{environment}: no dead letters in {queue}")
        if len(letters) == limit:
            say(f"the oldest {limit:,}: there may be more, --limit N shows N")

    emit(letters, output, show)


@dead.command("replay")
def replay(
    environment: Environment,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.", metavar="[ID]...")] = None,
    queue: Queue = EVENTS,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters of the queue.")] = False,
    output: Output = Form.table,
) -> None:
    """Put messages that were given up back at the end of their queue.

    Their attempts count anew, their once-only marks stay: an effect that happened does not happen again.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.messages import replay as run

    answer = run(load_project(), environment, queue, ids or [], everything=everything)
    count = len(answer["replayed"])
    words = "1 message is" if count == 1 else f"{count} messages are"
    emit(answer, output, lambda: say(f"{environment}: {words} back in {queue}"))
