"""What the shell offers after TAB: environments of the project and tags of its releases. It must never fail or wait."""

from collections.abc import Iterable

from mlops_sdk.errors import MlopsError


def environments(incomplete: str) -> list[str]:
    """The project's environments that begin so."""
    from mlops_sdk.release.project import load_project

    try:
        return _beginning(load_project().environments, incomplete)
    except MlopsError:
        return []  # not in a project


def releases(incomplete: str) -> list[str]:
    """The tags of the release files that begin so."""
    from mlops_sdk.release.project import load_project

    try:
        folder = load_project().root / "stacks" / "releases"
    except MlopsError:
        return []
    files = folder.glob("*.yaml")
    return _beginning(
        sorted(f.name.removesuffix(".yaml") for f in files if ".lock." not in f.name), incomplete
    )


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
