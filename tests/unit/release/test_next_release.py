"""The release after the newest one, in every scheme."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.release import stages
from mlops_sdk.release.lock import LockedModel
from mlops_sdk.release.manifest import CodeRef, Manifest, ModelRef
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.manifest_text import made_for, next_text
from mlops_sdk.release.next_release import (
    CodeUpdate,
    DataUpdate,
    Event,
    ModelUpdate,
    Released,
    base_of,
    holds,
    names_candidate,
    next_release,
)
from mlops_sdk.release.tag import SCHEMES, Tag, bump_code, parse_tag
from mlops_sdk.release.yaml_writer import to_yaml
from tests.support.locks import make_lock

KEYS = ("embedder", "reranker")
NUMBER = st.integers(min_value=0, max_value=30)
COUNT = st.integers(min_value=1, max_value=30)


@dataclass(frozen=True)
class History:
    """Releases of one scheme, each with a manifest of its own."""

    releases: dict[Tag, Released]

    def after(self, event: Event, *, candidate: bool) -> tuple[Released, Manifest]:
        base = self.releases[base_of(self.releases, candidate=candidate)]
        newest = self.releases[max(self.releases)]
        return base, next_release(self.releases.keys(), base, newest, event, candidate=candidate)


def manifest(tag: Tag, versions: dict[str, int], ref: str = "v0.0.1") -> Manifest:
    return Manifest(
        schema=1,
        release=str(tag),
        code=CodeRef(ref=ref),
        models={key: ModelRef(name=f"movie-{key}", version=versions[key]) for key in KEYS},
        parameters={"candidates": 200},
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    scheme = SCHEMES[draw(st.sampled_from(sorted(SCHEMES)))]
    releases = {}
    for _ in range(draw(st.integers(min_value=1, max_value=5))):
        code = (0, 0, draw(COUNT)) if scheme.counts else (draw(NUMBER), draw(NUMBER), draw(NUMBER))
        versions = {key: draw(COUNT) for key in KEYS}
        models = tuple(versions.items()) if scheme.names_models else ()
        tag = Tag(scheme.name, *code, draw(st.none() | COUNT), models)
        releases[tag] = Released(tag, manifest(tag, versions))
    return History(releases)


@st.composite
def code_updates(draw: st.DrawFn) -> CodeUpdate:
    commit = draw(st.sampled_from(["a" * 40, "b" * 40]))
    version = f"v{draw(NUMBER)}.{draw(NUMBER)}.{draw(NUMBER)}"
    return CodeUpdate(draw(st.sampled_from([commit, version, f"{version}-rc{draw(COUNT)}"])), commit)


EVENTS = code_updates() | st.builds(ModelUpdate, st.sampled_from(KEYS), COUNT) | st.just(DataUpdate())


@given(histories(), EVENTS, st.booleans())
def test_the_next_tag_is_of_the_scheme_and_later_than_every_earlier_one(
    history: History, event: Event, candidate: bool
) -> None:
    _, made = history.after(event, candidate=candidate)
    tag = parse_tag(made.release, max(history.releases).scheme)
    assert all(tag > earlier for earlier in history.releases)
    assert (tag.rc is not None) == candidate
    if tag.models:
        assert tag.models == tuple((key, model.version) for key, model in made.models.items())


@given(histories(), EVENTS, st.booleans())
def test_only_what_the_event_names_differs(history: History, event: Event, candidate: bool) -> None:
    base, made = history.after(event, candidate=candidate)
    before, after = base.manifest.document(), made.document()
    del before["release"], after["release"]
    if isinstance(event, CodeUpdate):
        assert after.pop("code") == {"ref": event.ref}
        del before["code"]
    if isinstance(event, ModelUpdate):
        assert after["models"].pop(event.key)["version"] == event.version
        del before["models"][event.key]
    assert after == before


@given(histories(), EVENTS, st.booleans())
def test_a_release_holds_what_it_was_made_for(history: History, event: Event, candidate: bool) -> None:
    _, made = history.after(event, candidate=candidate)
    tag = parse_tag(made.release, max(history.releases).scheme)
    assert holds(Released(tag, made), event) == (not isinstance(event, DataUpdate))


@given(histories(), EVENTS)
def test_the_final_release_of_a_candidate_with_equal_pins_has_its_number(
    history: History, event: Event
) -> None:
    base, _ = history.after(event, candidate=False)
    finals = History({tag: one for tag, one in history.releases.items() if tag <= base.tag})
    _, tried = finals.after(event, candidate=True)
    tag = parse_tag(tried.release, base.tag.scheme)
    both = History({**finals.releases, tag: Released(tag, tried)})
    if base.tag.rc is None:
        _, final = both.after(event, candidate=False)
        assert final.release == str(replace(tag, rc=None))
        assert final.models == tried.models


@given(histories(), EVENTS, st.booleans())
def test_the_next_file_is_valid_and_its_manifest_is_the_one_that_was_made(
    tmp_path_factory: pytest.TempPathFactory, history: History, event: Event, candidate: bool
) -> None:
    base, made = history.after(event, candidate=candidate)
    text = next_text(to_yaml(base.manifest.document()), made, environment="local", why="a test")
    path = tmp_path_factory.mktemp("releases") / f"{made.release}.yaml"
    path.write_text(text)
    assert load_manifest(path, scheme=base.tag.scheme) == made
    assert made_for(text, "local") == "a test"
    assert made_for(text, "prd") == ""


def released(scheme: str, *tags: str) -> History:
    found = {}
    for text in tags:
        tag = parse_tag(text, scheme)
        versions = {**dict.fromkeys(KEYS, 7), **dict(tag.models)}
        found[tag] = Released(tag, manifest(tag, versions, ref="c" * 40))
    return History(found)


MODEL, DATA, BRANCH = ModelUpdate("embedder", 43), DataUpdate(), CodeUpdate("a" * 40, "a" * 40)
RC = {"candidate": True}


@pytest.mark.parametrize(
    ("scheme", "known", "event", "candidate", "expected"),
    [
        ("deployment-manager", ["v0.0.6", "v0.0.7"], MODEL, False, "v0.0.8"),
        ("deployment-manager", ["v0.0.9", "v0.0.10"], DATA, False, "v0.0.11"),
        ("deployment-manager", ["v0.0.7"], CodeUpdate("v1.2.4", "a" * 40), False, "v0.0.8"),
        ("deployment-manager", ["v0.0.7"], MODEL, True, "v0.0.8-rc1"),
        ("deployment-manager", ["v0.0.7", "v0.0.8-rc1"], DATA, True, "v0.0.8-rc2"),
        ("deployment-manager", ["v0.0.7", "v0.0.8-rc1"], MODEL, False, "v0.0.9"),
        ("deployment-manager", ["v0.0.1-rc1"], MODEL, True, "v0.0.1-rc2"),
        ("models-as-dependencies", ["v1.2.3"], MODEL, False, "v1.3.0"),
        ("models-as-dependencies", ["v1.2.3"], CodeUpdate("v1.2.4", "a" * 40), False, "v1.2.4"),
        ("models-as-dependencies", ["v1.2.3"], CodeUpdate("v1.2.4-rc3", "a" * 40), True, "v1.2.4-rc3"),
        ("models-as-dependencies", ["v1.2.3", "v1.2.4-rc1"], MODEL, True, "v1.3.0-rc1"),
        ("models-as-dependencies", ["v1.2.3", "v1.3.0-rc1"], BRANCH, True, "v1.3.0-rc2"),
        ("models-as-dependencies", ["v1.3.0"], CodeUpdate("v1.2.4", "a" * 40), False, "v1.3.1"),
        ("joint-version", ["v1.2.3"], BRANCH, False, "v1.2.4"),
        ("joint-version", ["v1.2.3"], DATA, False, "v1.2.4"),
        (
            "code-and-model-tags",
            ["v1.2.3-embedder-v7-reranker-v12"],
            MODEL,
            False,
            "v1.2.3-embedder-v43-reranker-v12",
        ),
        (
            "code-and-model-tags",
            ["v1.2.3-embedder-v44-reranker-v12"],
            MODEL,
            False,
            "v1.2.4-embedder-v43-reranker-v12",
        ),
        (
            "monorepo-tags",
            ["v1.2.3-embedder-v7-reranker-v12"],
            CodeUpdate("v1.3.0", "a" * 40),
            True,
            "v1.3.0-embedder-v7-reranker-v12-rc1",
        ),
        (
            "monorepo-tags",
            ["v1.2.3-embedder-v7-reranker-v12"],
            DATA,
            False,
            "v1.2.4-embedder-v7-reranker-v12",
        ),
    ],
)
def test_each_scheme_numbers_the_next_release_in_its_own_way(
    scheme: str, known: list[str], event: Event, candidate: bool, expected: str
) -> None:
    assert released(scheme, *known).after(event, candidate=candidate)[1].release == expected


def test_a_final_release_starts_from_the_last_final_one_and_takes_nothing_that_was_only_tried() -> None:
    history = released("deployment-manager", "v0.0.7")
    _, tried = history.after(MODEL, candidate=True)
    tag = parse_tag(tried.release)
    both = History({**history.releases, tag: Released(tag, tried)})
    _, made = both.after(ModelUpdate("reranker", 9), candidate=False)
    assert {key: model.version for key, model in made.models.items()} == {"embedder": 7, "reranker": 9}


def test_what_could_have_moved_is_written_as_it_was_locked() -> None:
    digest = "sha256:" + "a" * 64
    models = {key: LockedModel(name=f"movie-{key}", version=5, digest=digest) for key in KEYS}
    moving = manifest(parse_tag("v0.0.7"), dict.fromkeys(KEYS, 1), ref="HEAD").model_copy(
        update={"models": {key: ModelRef(name=f"movie-{key}", alias="champion") for key in KEYS}}
    )
    base = Released(parse_tag("v0.0.7"), moving, make_lock(release="v0.0.7", models=models))
    made = next_release([base.tag], base, base, MODEL, candidate=False)
    assert made.code.ref == "a" * 40
    assert {key: model.version for key, model in made.models.items()} == {"embedder": 43, "reranker": 5}
    assert holds(base, ModelUpdate("embedder", 5))
    assert not holds(base, MODEL)


def test_a_model_that_no_release_has_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="its models: embedder, reranker"):
        released("deployment-manager", "v0.0.7").after(ModelUpdate("ranker", 1), candidate=False)


def test_code_of_an_earlier_version_takes_the_next_number() -> None:
    tag = parse_tag("v1.2.3", "joint-version")
    assert str(bump_code(tag, (1, 2, 3))) == "v1.2.4"
    assert str(bump_code(tag, (2, 0, 0))) == "v2.0.0"
    assert names_candidate("v1.2.4-rc1")
    assert not names_candidate("v1.2.4")
    assert not names_candidate("rc1")


LAID_OUT = """\
# yaml-language-server: $schema=../manifest.schema.json
# Only the reranker is new.

schema: 1
release: v0.0.7   # the tag
code: {ref: HEAD}
models:
  # trained weekly
  embedder: {name: movie-embedder, alias: champion}  # by alias
  reranker:
    name: "movie-reranker"
    version: 7
parameters: {candidates: 200, words: [a, "b"]}
"""


def test_comments_and_layout_of_the_file_before_stay(tmp_path: Path) -> None:
    path = tmp_path / "v0.0.7.yaml"
    path.write_text(LAID_OUT)
    base = Released(parse_tag("v0.0.7"), load_manifest(path))
    made = next_release([base.tag], base, base, MODEL, candidate=False)
    assert next_text(LAID_OUT, made, environment="stg", why="model embedder 43, after v0.0.7") == (
        "# yaml-language-server: $schema=../manifest.schema.json\n"
        "# Made by `mlops event` in stg: model embedder 43, after v0.0.7\n"
        + LAID_OUT.partition("new.\n\n")[2]
        .replace("release: v0.0.7 ", "release: v0.0.8 ")
        .replace("alias: champion}  #", "version: 43}      #")  # in the same column
    )


@pytest.mark.parametrize("text", ["", "release: [", "- a\n", "code: 3\nrelease: x\nmodels: 4\n"])
def test_a_file_that_cannot_be_edited_is_written_anew(text: str) -> None:
    made = manifest(parse_tag("v0.0.8"), dict.fromkeys(KEYS, 1))
    assert next_text(
        text, made, environment="local", why="a test"
    ) == "# Made by `mlops event` in local: a test\n" + to_yaml(made.document())


def test_candidates_go_to_every_environment_but_the_last_and_final_releases_to_the_last() -> None:
    three, candidate, final = ("dev", "stg", "prd"), parse_tag("v0.0.8-rc1"), parse_tag("v0.0.8")
    assert stages.event_targets(three, candidate) == ("dev", "stg")
    assert stages.event_targets(three, final) == ("prd",)
    assert (
        stages.event_targets(("local",), candidate) == stages.event_targets(("local",), final) == ("local",)
    )
    assert [stages.is_rehearsal(three, one) for one in three] == [True, True, False]
    assert not stages.is_rehearsal(("local",), "local")


def test_events_deploy_a_release_where_releases_of_its_kind_go() -> None:
    with pytest.raises(PolicyError, match="final release: events deploy it to prd only"):
        stages.refuse_event_target(("stg", "prd"), "stg", parse_tag("v0.0.8"))
    stages.refuse_event_target(("stg", "prd"), "stg", parse_tag("v0.0.8-rc1"))
