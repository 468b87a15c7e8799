"""The release after the newest one, when code, a model or data changed. Pure: it reads no file and asks no server.

Only what the event names differs from the release that the next one starts from; what could have moved since that one
was locked (a branch, an alias) is written as what it was locked to.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import assert_never

from mlops_sdk.errors import NotFoundError
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.manifest import CodeRef, Manifest, ModelRef
from mlops_sdk.release.tag import SCHEMES, Tag, bump_code, bump_data, bump_model, parse_tag

_VERSION = re.compile(r"v([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:-rc([1-9][0-9]{0,8}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True)
class CodeUpdate:
    """Other code: `ref` is a version tag or a commit, and `commit` what it means (40 hex digits)."""

    ref: str
    commit: str


@dataclass(frozen=True)
class ModelUpdate:
    """Another version of the model under `key` of the manifest."""

    key: str
    version: int


@dataclass(frozen=True)
class DataUpdate:
    """Newer data under equal pins: derived tables are built anew, for watermarks are read when a release is bound."""


Event = CodeUpdate | ModelUpdate | DataUpdate


@dataclass(frozen=True)
class Released:
    """A release that has a file: its tag, its manifest, and its lock where it was locked."""

    tag: Tag
    manifest: Manifest
    lock: Lock | None = None

    def fixed(self) -> Manifest:
        """The manifest with nothing in it that may have moved since it was locked."""
        if self.lock is None:
            return self.manifest
        ref = self.manifest.code.ref
        models = {
            key: ModelRef(name=model.name, version=self.lock.models[key].version)
            for key, model in self.manifest.models.items()
        }
        code = CodeRef(ref=ref if is_fixed(ref) else self.lock.code.commit)
        return self.manifest.model_copy(update={"code": code, "models": models})


def is_fixed(ref: str) -> bool:
    """Whether a git ref means the same commit tomorrow: a commit, or a tag that is a version."""
    return bool(_COMMIT.fullmatch(ref) or _VERSION.fullmatch(ref))


def names_candidate(ref: str) -> bool:
    """Whether a git ref is the tag of a candidate, such as v1.2.4-rc1."""
    found = _VERSION.fullmatch(ref)
    return found is not None and found[4] is not None


def base_of(known: Collection[Tag], *, candidate: bool) -> Tag:
    """The release that the next one starts from: a candidate from the newest one, a final one from the newest final
    one, so that nothing is in it that was only tried. `known` is not empty.
    """
    finals = [tag for tag in known if tag.rc is None]
    return max(known) if candidate or not finals else max(finals)


def holds(release: Released, event: Event) -> bool:
    """Whether the release has what the event names. Of data only an environment can tell, so never.

    Raises NotFoundError for a model that it does not have.
    """
    manifest = release.fixed()
    match event:
        case CodeUpdate(ref=ref, commit=commit):
            if release.lock is not None:
                return release.lock.code.commit == commit
            return manifest.code.ref in (ref, commit)
        case ModelUpdate(key=key, version=version):
            return _model(manifest, key).version == version
        case DataUpdate():
            return False
        case _:
            assert_never(event)


def next_release(
    known: Collection[Tag], base: Released, newest: Released, event: Event, *, candidate: bool
) -> Manifest:
    """The next manifest: `base` with what the event names, under a tag that is later than all of `known`.

    A final release that equals the newest candidate gets that one's number. Raises NotFoundError for a model that
    `base` does not have, InputError where the scheme has no later tag.
    """
    content = _changed(base.fixed(), event)
    if not candidate and newest.tag.rc is not None and _equal(content, newest.fixed()):
        tag = replace(newest.tag, rc=None)
    else:
        tag = _next_tag(known, event, content, candidate=candidate)
    return content.model_copy(update={"release": str(tag)})


def _changed(manifest: Manifest, event: Event) -> Manifest:
    match event:
        case CodeUpdate(ref=ref):
            return manifest.model_copy(update={"code": CodeRef(ref=ref)})
        case ModelUpdate(key=key, version=version):
            model = ModelRef(name=_model(manifest, key).name, version=version)
            return manifest.model_copy(update={"models": {**manifest.models, key: model}})
        case DataUpdate():
            return manifest
        case _:
            assert_never(event)


def _model(manifest: Manifest, key: str) -> ModelRef:
    if key not in manifest.models:
        raise NotFoundError(
            f"release {manifest.release} has no model {key!r}",
            remedy=f"its models: {', '.join(manifest.models) or 'none'}",
        )
    return manifest.models[key]


def _equal(one: Manifest, other: Manifest) -> bool:
    return one.model_copy(update={"release": ""}) == other.model_copy(update={"release": ""})


def _next_tag(known: Collection[Tag], event: Event, content: Manifest, *, candidate: bool) -> Tag:
    newest = max(known)
    models = _named_models(newest.scheme, content)
    number = _version_of(event)[1] if isinstance(event, CodeUpdate) else 0
    if candidate:
        tag = _rehearsed(known, event, models)
        tried = [one.rc for one in known if one.rc and replace(one, rc=None) == tag]
        tag = replace(tag, rc=max([*tried, number - 1]) + 1 if tried or number else 1)
    else:
        tag = _bump(replace(newest, models=models), event)
    if tag <= newest:  # a model went back to an earlier version, in a scheme whose tags name it
        tag = replace(bump_data(newest), models=models, rc=1 if candidate else None)
    return parse_tag(str(tag), newest.scheme)


def _rehearsed(known: Collection[Tag], event: Event, models: tuple[tuple[str, int], ...]) -> Tag:
    """The final release that the next candidate is for: the one being tried, unless the event asks for a later one."""
    newest = replace(max(known), models=models)
    finals = [replace(tag, models=models) for tag in known if tag.rc is None]
    if newest.rc is None:
        return _bump(newest, event)
    opened = replace(newest, rc=None)
    asked = [_bump(max(finals), event)] if finals else []
    version, _ = _version_of(event)
    if version is not None and not SCHEMES[newest.scheme].counts:
        major, minor, patch = version
        asked.append(replace(opened, major=major, minor=minor, patch=patch))
    return max([opened, *asked])


def _bump(tag: Tag, event: Event) -> Tag:
    match event:
        case CodeUpdate():
            return bump_code(tag, _version_of(event)[0])
        case ModelUpdate(key=key, version=version):
            return bump_model(tag, key, version)
        case DataUpdate():
            return bump_data(tag)
        case _:
            assert_never(event)


def _version_of(event: Event) -> tuple[tuple[int, int, int] | None, int]:
    """The code version that an event names, and the number of its candidate, 0 for none."""
    found = _VERSION.fullmatch(event.ref) if isinstance(event, CodeUpdate) else None
    if found is None:
        return None, 0
    return (int(found[1]), int(found[2]), int(found[3])), int(found[4] or 0)


def _named_models(scheme: str, content: Manifest) -> tuple[tuple[str, int], ...]:
    if not SCHEMES[scheme].names_models:
        return ()
    return tuple((key, model.version) for key, model in content.models.items() if model.version is not None)
