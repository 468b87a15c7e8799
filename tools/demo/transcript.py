"""What the demo shows, and keeps in a file: headings, commands, and what they print."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Transcript:
    """Prints to the terminal and keeps the same text in a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def say(self, text: str = "") -> None:
        """Print one or more lines."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        self._file.write(text + "\n")
        self._file.flush()

    def step(self, number: int, text: str) -> None:
        """Print a heading."""
        self.say(f"\n== {number}. {text}")

    def run(
        self,
        *command: str,
        environ: Mapping[str, str] | None = None,
        may_fail: bool = False,
        without: tuple[str, ...] = (),
    ) -> int:
        """Run a command of `.venv`, show what it prints, and return its exit code; a failure ends the demo.

        `environ` is added to the process's environment. Lines that begin with one of `without` are not shown.
        """
        self.say(f"$ {shlex.join(command)}")
        with subprocess.Popen(
            [str(ROOT / ".venv" / "bin" / command[0]), *command[1:]],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith(without):
                    self.say(f"  {line.rstrip()}")
        if process.returncode and not may_fail:
            self.say(f"the demo ends here: {command[0]} {command[1]} ended with {process.returncode}")
            sys.exit(process.returncode)
        return process.returncode
