"""Release code runs here, and only here: in a child process of the release's checkout and dependency environment.

The SDK itself never imports a release's modules. The child gets no variable of the parent but what finding
programs and files needs, so no secret of the operator reaches release code.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.errors import DeadlineError, MlopsError

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "SSL_CERT_FILE", "XDG_CACHE_HOME")


@dataclass(frozen=True)
class ReleaseCode:
    """A release's checkout and the Python of its dependency environment."""

    checkout: Path
    python: Path

    def environ(self) -> dict[str, str]:
        """Return the whole environment of a child that runs this code."""
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {**passed_on, "PYTHONPATH": str(self.checkout), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run_json(self, module: str, *args: str, timeout_s: float = 120.0) -> Any:
        """Return the JSON that `python -m MODULE ARGS` prints, run in the checkout.

        Raises MlopsError with the last lines of its standard error when it fails or prints something else,
        DeadlineError after `timeout_s` seconds.
        """
        command = [str(self.python), "-m", module, *args]
        try:
            done = subprocess.run(
                command,
                cwd=self.checkout,
                env=self.environ(),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                f"{module} did not end within {timeout_s:.0f} s", where=str(self.checkout)
            ) from error
        if done.returncode != 0:
            raise MlopsError(
                f"{module} {' '.join(args)} failed:\n{_tail(done.stderr)}",
                where=str(self.checkout),
                remedy="the release's own code said this: mend it in a new commit",
            )
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise MlopsError(
                f"{module} {' '.join(args)} printed no JSON: {done.stdout[:200]!r}",
                where=str(self.checkout),
                remedy="release code must not print when it is imported",
            ) from error

    def run_lines(
        self, module: str, variables: Mapping[str, str], *, timeout_s: float, report: Callable[[str], None]
    ) -> None:
        """Run `python -P -m MODULE` with `variables`, and report each line that it prints.

        Raises MlopsError with its last lines when it fails, DeadlineError after `timeout_s` seconds.
        """
        command = [str(self.python), "-P", "-m", module]
        lines: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self.checkout,
            env={**self.environ(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            assert child.stdout is not None
            timer = threading.Timer(timeout_s, child.kill)
            timer.start()
            for line in child.stdout:
                lines = [*lines[-14:], line.rstrip()]
                report(line.rstrip())
            child.wait()
            late = not timer.is_alive()
            timer.cancel()
        if late:
            raise DeadlineError(f"{module} did not end within {timeout_s:.0f} s", where=str(self.checkout))
        if child.returncode != 0:
            raise MlopsError(
                f"{module} failed:\n{_tail(chr(10).join(lines))}",
                where=str(self.checkout),
                remedy="the release's own code said this: mend it in a new commit",
            )


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:])
