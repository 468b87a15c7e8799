"""`python -m mlops_sdk.serving.fetch NAME VERSION DIGEST TRACKING_URI CACHE`: download one model into the cache.

A process of its own, so that the service never holds MLflow in memory. Prints what went wrong on standard
error and ends with the error's exit code.
"""

import sys
from pathlib import Path

from mlops_sdk.errors import MlopsError
from mlops_sdk.registry.client import Registry

_TIMEOUT_S = 60.0


def main() -> int:
    """Download and verify the model that the arguments name."""
    name, version, digest, tracking_uri, cache = sys.argv[1:]
    try:
        Registry(tracking_uri, timeout_s=_TIMEOUT_S).download(name, int(version), digest, Path(cache))
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
