"""The process boundary: run the app, turn every error into a message and an exit code."""

import os
import sys
import traceback

from mlops_sdk.errors import MlopsError


def main() -> None:
    """Run `mlops` with the arguments of this process and exit with the codes of `mlops_sdk.errors`."""
    from mlops_sdk.cli.app import app

    try:
        app(prog_name="mlops", standalone_mode=True)
    except MlopsError as error:
        fail(error)
    except BrokenPipeError:
        # The reader (head, less) went away: nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def fail(error: MlopsError) -> None:
    """Print the error, and with MLOPS_DEBUG=1 its traceback, and exit with its code."""
    if os.environ.get("MLOPS_DEBUG") == "1":
        traceback.print_exception(error)
    sys.stderr.write(f"error: {error}\n")
    sys.exit(error.exit_code)
