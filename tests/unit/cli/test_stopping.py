"""A person who stops a command, or does not confirm it, gets exit code 8 and a sentence."""

import pytest
import typer

from mlops_sdk.cli.group import Commands
from mlops_sdk.errors import CancelledError


def app_that(raises: type[BaseException]) -> typer.Typer:
    app = typer.Typer(cls=Commands)

    @app.command("one")
    def one() -> None:
        raise raises

    @app.command("two")
    def two() -> None: ...

    return app


@pytest.mark.parametrize(
    ("raised", "says"),
    [(KeyboardInterrupt, "same command again"), (typer.Abort, "--yes"), (EOFError, "--yes")],
)
def test_being_stopped_is_an_error_of_the_sdk(raised: type[BaseException], says: str) -> None:
    with pytest.raises(CancelledError, match=says) as caught:
        app_that(raised)(["one"], standalone_mode=True)

    assert caught.value.exit_code == 8
