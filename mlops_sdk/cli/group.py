"""The group of all commands: a person who stops one gets the exit code and the words of every other error."""

from typing import Any

import typer
from typer.core import TyperGroup

from mlops_sdk.errors import CancelledError


class Commands(TyperGroup):
    """Turns Ctrl-C and an unanswered question into CancelledError; Typer's own codes are 130 and 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises CancelledError, and whatever the command raises."""
        try:
            return super().invoke(ctx)
        except (typer.Abort, EOFError) as error:
            raise CancelledError(
                "not confirmed: nothing was changed", remedy="--yes answers for you"
            ) from error
        except KeyboardInterrupt as error:
            raise CancelledError(
                "stopped by the keyboard",
                remedy="run the same command again: it goes on where this one stopped",
            ) from error
