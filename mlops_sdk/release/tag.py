"""Release tags: five schemes on one grammar. Pure.

    TAG   = vX.Y.Z ["-" KEY "-v" VERSION]... ["-rc" N]
    KEY   = a model's key in the manifest, [a-z][a-z0-9_]*
    N, VERSION from 1; no number is written with a zero before it

A scheme says which part of it a tag has: `deployment-manager` only counts in Z, a sequence of its own, and the tag
schemes alone name models. What a tag does not hold, the release's file does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import total_ordering

from mlops_sdk.errors import InputError

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_COUNT = r"[1-9][0-9]{0,8}"
_MODEL = rf"-([a-z][a-z0-9_]*)-v({_COUNT})"
_RC = rf"(?:-rc(?P<rc>{_COUNT}))?"
_TAG = re.compile(rf"v(?P<x>{_NUMBER})\.(?P<y>{_NUMBER})\.(?P<z>{_NUMBER})(?P<models>(?:{_MODEL})*){_RC}")


@dataclass(frozen=True)
class Scheme:
    """One way to number releases. `form` and `model_bump` are for people.

    `counts`: only the last number is used, from 1. `names_models`: a tag has the version of each model.
    """

    name: str
    form: str
    model_bump: str
    counts: bool = False
    names_models: bool = False


_TAGGED = "vX.Y.Z-KEY-vN for each model, and -rcN, such as v1.2.3-embedder-v7-reranker-v12"
_VERSIONED = "vX.Y.Z or vX.Y.Z-rcN, such as v1.2.3"
SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "deployment-manager",
            "v0.0.N or v0.0.N-rcN, such as v0.0.1",
            "the next number: a new release, whose file records the combination",
            counts=True,
        ),
        Scheme(
            "models-as-dependencies",
            _VERSIONED,
            "a minor bump: the model is a dependency, pinned in the release's file",
        ),
        Scheme("code-and-model-tags", _TAGGED, "a new tag on the same commit", names_models=True),
        Scheme(
            "monorepo-tags",
            _TAGGED,
            "a new tag; the model lives in models/ of the same repository",
            names_models=True,
        ),
        Scheme("joint-version", _VERSIONED, "a minor bump: a commit has one version of each model"),
    )
}


@total_ordering
@dataclass(frozen=True)
class Tag:
    """A release tag. `models` are (key, version) in the manifest's order, of schemes that name them.

    `rc` is the number of a release candidate, None for a final release. Tags order by code version, then by model
    versions; candidates come before the final release, by their number.
    """

    scheme: str
    major: int
    minor: int
    patch: int
    rc: int | None = None
    models: tuple[tuple[str, int], ...] = ()

    @property
    def order(self) -> tuple[object, ...]:
        """The tuple that tags of one scheme are ordered by; the keys are last, so that only equal tags are equal."""
        code = (self.major, self.minor, self.patch)
        versions, keys = tuple(n for _, n in self.models), tuple(key for key, _ in self.models)
        return (code, versions, self.rc is None, self.rc or 0, keys)

    @property
    def stage(self) -> str:
        """Where a release with this tag goes: `staging` for a candidate, else `production`."""
        return "production" if self.rc is None else "staging"

    def __lt__(self, other: "Tag") -> bool:
        return self.order < other.order

    def __str__(self) -> str:
        models = "".join(f"-{key}-v{version}" for key, version in self.models)
        candidate = "" if self.rc is None else f"-rc{self.rc}"
        return f"v{self.major}.{self.minor}.{self.patch}{models}{candidate}"


def parse_tag(text: str, scheme: str = "deployment-manager") -> Tag:
    """The tag that `text` spells; `str` of it is `text` again. Raises InputError for anything else."""
    found = _TAG.fullmatch(text)
    if found is None:
        raise _no_tag(text, scheme)
    models = tuple((key, int(version)) for key, version in re.findall(_MODEL, found["models"]))
    rc = int(found["rc"]) if found["rc"] else None
    tag = Tag(scheme, int(found["x"]), int(found["y"]), int(found["z"]), rc, models)
    kind = SCHEMES[scheme]
    if kind.counts and ((tag.major, tag.minor) != (0, 0) or tag.patch == 0):
        raise _no_tag(text, scheme)
    if kind.names_models != bool(models) or len({key for key, _ in models}) < len(models):
        raise _no_tag(text, scheme)
    return tag


def bump_model(tag: Tag, key: str = "", version: int = 0) -> Tag:
    """The final release after `tag` that differs only in a model: `key` has `version`, where the tag says so.

    Raises InputError for a model that the tag does not name.
    """
    scheme = SCHEMES[tag.scheme]
    if scheme.names_models:
        if key not in dict(tag.models):
            raise InputError(
                f"tag {tag} names no model {key!r}", remedy=f"it has {', '.join(dict(tag.models))}"
            )
        models = tuple((name, version if name == key else n) for name, n in tag.models)
        return replace(tag, models=models, rc=None)
    if scheme.counts:
        return replace(tag, patch=tag.patch + 1, rc=None)
    return replace(tag, minor=tag.minor + 1, patch=0, rc=None)


def bump_code(tag: Tag, version: tuple[int, int, int] | None = None) -> Tag:
    """The final release after `tag` that has other code: of `version`, where tags hold a code version and that one
    is a later release; else the next number."""
    if version is not None and not SCHEMES[tag.scheme].counts:
        major, minor, patch = version
        later = replace(tag, major=major, minor=minor, patch=patch, rc=None)
        if later > tag:
            return later
    return bump_data(tag)


def bump_data(tag: Tag) -> Tag:
    """The final release after `tag` with equal pins, built from newer data: the next number, in every scheme."""
    return replace(tag, patch=tag.patch + 1, rc=None)


def model_faults(tag: Tag, models: Mapping[str, int | None]) -> list[str]:
    """Where the tag and the manifest's models (version by key; None: by alias) say different things."""
    if not SCHEMES[tag.scheme].names_models:
        return []
    named = [key for key, _ in tag.models]
    if named != list(models):
        return [f"the tag names models {', '.join(named)}; the manifest has {', '.join(models) or 'none'}"]
    return [
        f"the tag names version {version} of {key}, the manifest "
        + (f"version {models[key]}" if models[key] else "an alias, which may move")
        for key, version in tag.models
        if models[key] != version
    ]


def tag_form(scheme: str) -> str:
    """How a tag of the scheme is written, with an example."""
    return SCHEMES[scheme].form


def _no_tag(text: str, scheme: str) -> InputError:
    return InputError(f"{text!r} is not a tag of scheme {scheme}", remedy=f"write {tag_form(scheme)}")
