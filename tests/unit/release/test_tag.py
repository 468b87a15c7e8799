"""Tags of the versioning schemes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.release.tag import SCHEMES, Tag, bump_model, model_faults, parse_tag

NUMBER = st.integers(min_value=0, max_value=999_999_999)
COUNT = st.integers(min_value=1, max_value=999_999_999)
KEY = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TAGGED = [name for name, scheme in SCHEMES.items() if scheme.names_models]


@st.composite
def tags(draw: st.DrawFn, scheme: str | None = None) -> Tag:
    """A tag of a scheme, of any if none is given."""
    kind = SCHEMES[scheme or draw(st.sampled_from(sorted(SCHEMES)))]
    code = (0, 0, draw(COUNT)) if kind.counts else (draw(NUMBER), draw(NUMBER), draw(NUMBER))
    models = st.lists(st.tuples(KEY, COUNT), min_size=1, max_size=4, unique_by=lambda model: model[0])
    return Tag(kind.name, *code, draw(st.none() | COUNT), tuple(draw(models)) if kind.names_models else ())


@given(tags())
def test_a_tag_reads_back_as_what_was_written(tag: Tag) -> None:
    assert parse_tag(str(tag), tag.scheme) == tag


@given(st.sampled_from(sorted(SCHEMES)), tags().map(str) | st.text(max_size=12))
def test_what_is_read_is_written_as_it_was(scheme: str, text: str) -> None:
    try:
        tag = parse_tag(text, scheme)
    except InputError:
        return
    assert str(tag) == text


@given(st.sampled_from(sorted(SCHEMES)).flatmap(lambda scheme: st.tuples(tags(scheme), tags(scheme))))
def test_tags_of_a_scheme_are_in_one_order(pair: tuple[Tag, Tag]) -> None:
    one, other = pair
    assert (one < other) + (one > other) + (one == other) == 1


@given(tags())
def test_a_final_release_follows_its_candidates_which_go_to_staging(tag: Tag) -> None:
    final = replace(tag, rc=None)
    assert final.stage == "production"
    if tag.rc is not None:
        assert tag < final
        assert tag.stage == "staging"


@given(tags())
def test_a_release_after_a_model_bump_is_a_later_one_of_the_same_scheme(tag: Tag) -> None:
    key, version = tag.models[-1] if tag.models else ("", 0)
    after = bump_model(tag, key, version + 1)
    assert after > tag
    assert after.rc is None


@pytest.mark.parametrize(
    ("scheme", "text", "key", "after"),
    [
        ("deployment-manager", "v0.0.7", "", "v0.0.8"),
        ("models-as-dependencies", "v1.2.3-rc1", "", "v1.3.0"),
        ("joint-version", "v1.2.9", "", "v1.3.0"),
        (
            "code-and-model-tags",
            "v1.2.3-embedder-v7-reranker-v12",
            "embedder",
            "v1.2.3-embedder-v8-reranker-v12",
        ),
        ("monorepo-tags", "v1.2.3-rc1-v7-rc4", "rc1", "v1.2.3-rc1-v8"),
    ],
)
def test_each_scheme_bumps_a_model_in_its_own_way(scheme: str, text: str, key: str, after: str) -> None:
    tag = parse_tag(text, scheme)
    assert str(bump_model(tag, key, dict(tag.models).get(key, 0) + 1)) == after


def test_a_bump_of_a_model_that_the_tag_does_not_name_says_which_it_names() -> None:
    tag = parse_tag("v1.2.3-embedder-v7", "code-and-model-tags")
    with pytest.raises(InputError, match="names no model 'ranker'") as caught:
        bump_model(tag, "ranker", 2)
    assert caught.value.remedy == "it has embedder"


@pytest.mark.parametrize("text", ["v0.0.1", "v0.0.12-rc3"])
def test_the_deployment_manager_counts_in_the_last_number(text: str) -> None:
    assert str(parse_tag(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "v0.0.0", "v0.1.0", "v1.0.0", "0.0.1", "v0.0.01", "v0.0.1-rc0", "v0.0.1-rc", "v0.0.1 ", "v0.0.1\n"],
)
def test_other_text_is_no_tag_of_the_deployment_manager(text: str) -> None:
    with pytest.raises(InputError, match="is not a tag of scheme deployment-manager"):
        parse_tag(text)


@pytest.mark.parametrize("scheme", TAGGED)
@pytest.mark.parametrize(
    "text",
    [
        "v1.2.3",
        "v1.2.3-rc1",
        "v1.2.3-embedder",
        "v1.2.3-embedder-v0",
        "v1.2.3-embedder-v07",
        "v1.2.3-Embedder-v7",
        "v1.2.3-embedder-v7-embedder-v8",
        "v1.2.3-rc1-embedder-v7-",
        "v1.2.3-embedder-v7-rc1-rc2",
    ],
)
def test_other_text_is_no_tag_that_names_models(scheme: str, text: str) -> None:
    with pytest.raises(InputError, match=f"is not a tag of scheme {scheme}") as caught:
        parse_tag(text, scheme)
    assert "v1.2.3-embedder-v7-reranker-v12" in caught.value.remedy


def test_a_candidate_comes_before_its_release_and_after_the_one_before() -> None:
    found = ["v0.0.9", "v0.0.10-rc1", "v0.0.10-rc2", "v0.0.10", "v0.0.11-rc1"]
    assert [str(tag) for tag in sorted(map(parse_tag, reversed(found)))] == found


def test_tags_that_name_models_are_ordered_by_code_then_models_then_candidate() -> None:
    found = ["v1.0.0-a-v9-b-v9", "v1.0.1-a-v1-b-v2-rc1", "v1.0.1-a-v1-b-v2", "v1.0.1-a-v2-b-v1"]
    scheme = "code-and-model-tags"
    assert [str(tag) for tag in sorted(parse_tag(text, scheme) for text in reversed(found))] == found


def test_a_tag_and_a_manifest_that_name_other_models_are_told_apart() -> None:
    tag = parse_tag("v1.2.3-embedder-v7-reranker-v12", "code-and-model-tags")
    assert model_faults(tag, {"embedder": 7, "reranker": 12}) == []
    assert model_faults(tag, {"reranker": 12, "embedder": 7}) == [
        "the tag names models embedder, reranker; the manifest has reranker, embedder"
    ]
    assert model_faults(tag, {"embedder": 8, "reranker": None}) == [
        "the tag names version 7 of embedder, the manifest version 8",
        "the tag names version 12 of reranker, the manifest an alias, which may move",
    ]
    assert model_faults(parse_tag("v0.0.1"), {"embedder": 8}) == []
