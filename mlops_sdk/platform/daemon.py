"""Become supervisord, detached from whoever asked for it.

    python3 -P daemon.py CONFIG MARK

Runs as a plain file. It forks, so that the asker has no child, and tells the supervised commands by
MLOPS_SUPERVISOR_PID whom they end with. Must hold no logic beside that.
"""

import os
import sys


def main() -> None:
    """Detach, then run supervisord in the foreground of a process of its own."""
    config, mark = sys.argv[1:]
    if os.fork():
        os._exit(0)
    os.environ["MLOPS_SUPERVISOR_PID"] = str(os.getpid())
    os.environ["MLOPS_SUPERVISED"] = mark
    # By exec and not by a call: only then do other processes see the mark in its environment.
    code = "import sys; from supervisor.supervisord import main; sys.exit(main())"
    arguments = ["-P", "-c", code, "--nodaemon", f"--configuration={config}"]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
