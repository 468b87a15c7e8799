"""Builds one derived table without Prefect: `python -P -m mlops_sdk.state.build_command`.

For environments on a cluster, whose jobs do not share a folder with the deployer. Reads nothing but its process
environment, as `build_flow`, and prints how far it is.
"""

from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.state.fill import fill


def main() -> None:
    """Build the table that MLOPS_BUILD orders."""
    settings = BuildSettings.parse()
    rows = fill(settings, report=lambda progress: _say(f"{settings.build.table}: {progress}"))
    _say(f"{settings.build.table}: loaded, {rows:,} rows")


def _say(line: object) -> None:
    print(line, flush=True)  # noqa: T201 - what the deployer shows


if __name__ == "__main__":
    main()
