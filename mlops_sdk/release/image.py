"""What an image of a commit is called. Pure; it must not build or look anything up.

Never a time and never `latest`: the same commit gives the same name, and one can be read off the other.
"""

from mlops_sdk.errors import InputError, NotFoundError

TARGETS = ("service", "job", "invoker")
"""The targets of the Dockerfile: the model service, consumers and flows, the invoker."""


def image_reference(repository: str | None, target: str, commit: str) -> str:
    """`REPOSITORY/TARGET:COMMIT`. Raises NotFoundError without a repository, InputError for an unknown target."""
    if target not in TARGETS:
        raise InputError(f"the Dockerfile has no target {target!r}", remedy=f"it has: {', '.join(TARGETS)}")
    if not repository:
        raise NotFoundError(
            "the project names no image repository",
            where="pyproject.toml",
            remedy='set image_repository = "REGISTRY/NAME" in [tool.mlops]',
        )
    return f"{repository}/{target}:{commit}"
