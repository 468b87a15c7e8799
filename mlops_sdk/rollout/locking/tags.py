"""What a release tag says in the project's scheme, and what the release's file adds. It only reads files."""

from typing import Any

from mlops_sdk.release.lock_file import lock_path, read_lock
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import SCHEMES, Tag, bump_model, parse_tag


def explain_tag(project: Project, text: str) -> dict[str, Any]:
    """The parts of a tag as JSON values; `release` is what its lock holds, None where it was never locked.

    Raises InputError for text that is no tag of the project's scheme.
    """
    tag = parse_tag(text, project.scheme)
    path = project.root / "stacks" / "releases" / f"{tag}.yaml"
    return {
        "tag": str(tag),
        "scheme": tag.scheme,
        "code": f"{tag.major}.{tag.minor}.{tag.patch}",
        "models": dict(tag.models),
        "candidate": tag.rc,
        "stage": tag.stage,
        "model_bump": SCHEMES[tag.scheme].model_bump,
        "after_model_bump": _after(tag),
        "file": str(path.relative_to(project.root)) if path.exists() else None,
        "release": _locked(project, tag),
    }


def _after(tag: Tag) -> dict[str, str]:
    """The tag after the next version of each model that it names, or of any, under the empty key."""
    if not tag.models:
        return {"": str(bump_model(tag))}
    return {key: str(bump_model(tag, key, version + 1)) for key, version in tag.models}


def _locked(project: Project, tag: Tag) -> dict[str, Any] | None:
    path = lock_path(project.root / "stacks" / "releases" / f"{tag}.yaml")
    if not path.exists():
        return None
    lock = read_lock(path)
    return {
        "digest": lock.digest,
        "commit": lock.code.commit,
        "models": {key: f"{model.name} version {model.version}" for key, model in lock.models.items()},
    }
