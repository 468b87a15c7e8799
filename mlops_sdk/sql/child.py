"""`python -P -m mlops_sdk.sql.child PARENT ARGUMENTS`: dbt, in a process that dies with its parent.

A killed job or build leaves no dbt at work. It must not be imported by anything: it imports dbt.
"""

import ctypes
import gc
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Run dbt's command line; never returns."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
    # What dbt makes of a project lives until its end: looking for garbage in it takes an eighth of the time to parse.
    gc.disable()
    sys.argv = ["dbt", *sys.argv[2:]]
    from dbt.cli.main import cli

    cli()


if __name__ == "__main__":
    main()
