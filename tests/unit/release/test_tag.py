"""Tags of the versioning schemes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.release.tag import Tag, parse_tag

NUMBER = st.integers(min_value=0, max_value=999_999_999)
RC = st.none() | st.integers(min_value=1, max_value=999_999_999)


@given(NUMBER, NUMBER, NUMBER, RC)
def test_a_tag_reads_back_as_what_was_written(major: int, minor: int, patch: int, rc: int | None) -> None:
    tag = Tag("models-as-dependencies", major, minor, patch, rc)
    assert parse_tag(str(tag), "models-as-dependencies") == tag


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


def test_a_candidate_comes_before_its_release_and_after_the_one_before() -> None:
    tags = ["v0.0.9", "v0.0.10-rc1", "v0.0.10-rc2", "v0.0.10", "v0.0.11-rc1"]
    assert [str(tag) for tag in sorted(map(parse_tag, reversed(tags)))] == tags
