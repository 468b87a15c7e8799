"""A declared state as plain data: `python -m mlops_sdk.state.describe package.module:STATE` prints JSON.

Run as a child in the release's checkout and dependency environment, the only place where release code is
imported; `describe` starts that child and reads what it prints. It must not talk to a server.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state.declare import State
from mlops_sdk.state.specs import describe_state

_TIMEOUT_S = 120


def describe(python: Path, checkout: Path, entry: str, *, environ: Mapping[str, str]) -> dict[str, TableSpec]:
    """The tables that `entry` (`package.module:attribute`) declares, read by a child in `checkout`.

    `python` is the release's dependency environment, `environ` the child's whole environment. Raises
    InputError when the declaration cannot be imported or is refused; its message has every fault.
    """
    command = [str(python), "-m", "mlops_sdk.state.describe", entry]
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"importing the tables took more than {_TIMEOUT_S} s",
            where=entry,
            remedy="import no data in that module",
        ) from error
    if done.returncode != 0:
        raise InputError(
            "the declared tables cannot be used:\n" + done.stderr.strip(), where=f"{checkout}: {entry}"
        )
    tables = json.loads(done.stdout.splitlines()[-1])
    return {name: TableSpec.from_document(spec) for name, spec in tables.items()}


def main(arguments: Sequence[str]) -> int:
    """Print the tables of one entry as JSON on the last line of stdout; faults go to stderr, exit code 2."""
    root = Path.cwd()
    sys.path.insert(0, str(root))
    module_name, _, attribute = arguments[0].partition(":")
    try:
        state = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(state, State):
            raise InputError(f"{arguments[0]} is a {type(state).__name__}, not a mlops_sdk.state.State")
        specs = describe_state(state, root)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the boundary of the process: release code may raise anything
        sys.stderr.write(f"  {arguments[0]} cannot be imported: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write(json.dumps({name: spec.document() for name, spec in specs.items()}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
