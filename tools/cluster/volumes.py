"""`python -m tools.cluster.volumes FOLDER`: makes each new volume of the node writable for pods that are not root.

The controller manager makes a volume's folder for root alone, and a hostPath knows no fsGroup. Ends with its node.
"""

import sys
import time
from pathlib import Path

_LOOK_AGAIN_S = 0.1
_OPEN = 0o777


def open_volumes(folder: Path) -> None:
    """Let everybody into `folder` and write into what is directly below it."""
    if not folder.is_dir():
        return
    folder.chmod(0o755)
    for volume in folder.iterdir():
        if volume.stat().st_mode & _OPEN != _OPEN:
            volume.chmod(_OPEN)


def main() -> None:
    """Look until the process is ended."""
    while True:
        try:
            open_volumes(Path(sys.argv[1]))
        except FileNotFoundError:
            continue  # a volume went just now
        time.sleep(_LOOK_AGAIN_S)


if __name__ == "__main__":
    main()
