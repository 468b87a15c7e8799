"""supervisord started: detached, in an environment that holds nothing of the caller's.

Must not wait for it or ask it: `supervisor` does.
"""

import os
import subprocess
import sys
from pathlib import Path

from mlops_sdk.platform import daemon

# Everything else of the caller's environment stays out: a passphrase, or a variable of an earlier
# deployment that would win over the env files of the programs.
_INHERITED = ("HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SHELL", "NO_PROXY", "no_proxy")
_INHERITED_PREFIXES = ("LC_", "XDG_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def start_daemon(folder: Path, mark: str, *, log: Path) -> None:
    """Start supervisord in `folder`, which holds its config; its own output goes to `log`.

    It has a session of its own and is no child of this process.
    """
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-P", daemon.__file__, "supervisord.conf", mark],
            cwd=folder,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )


def _clean_environment() -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in _INHERITED or key.startswith(_INHERITED_PREFIXES)
    }
    for key in ("NO_PROXY", "no_proxy"):
        kept[key] = ",".join(filter(None, [kept.get(key), "127.0.0.1,localhost"]))
    own = str(Path(sys.executable).parent)
    return {**kept, "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)])}
