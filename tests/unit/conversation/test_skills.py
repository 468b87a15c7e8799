"""Which adapter answers a message, and what it answers."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.release.manifest_file import load_manifest
from pipelines.conversation.skills import SKILLS, choose
from pipelines.conversation.training import train

KEYS = [skill.key for skill in SKILLS]
RELEASES = Path(__file__).parents[3] / "pipelines" / "conversation" / "releases"


@pytest.mark.parametrize(
    ("text", "last", "chosen"),
    [
        ("Where is the POOL?", None, "pool"),
        ("and until when?", "pool", "pool"),
        ("a towel for the dog and the cat", "pool", "pets"),
        ("hello", None, None),
        ("and until when?", "removed", None),
    ],
)
def test_a_message_goes_to_the_adapter_of_its_words_or_to_who_spoke_last(
    text: str, last: str | None, chosen: str | None
) -> None:
    assert choose(text, last, KEYS) == chosen


@given(st.text(), st.sampled_from([None, *KEYS]), st.sets(st.sampled_from(KEYS)))
def test_only_an_adapter_of_the_release_is_chosen(text: str, last: str | None, adapters: set[str]) -> None:
    assert choose(text, last, adapters) in {None, *adapters}


def test_no_word_belongs_to_two_subjects() -> None:
    words = [word for skill in SKILLS for word in skill.words]
    assert len(set(words)) == len(words) == 60


def test_an_adapter_answers_its_examples_and_a_question_that_leaves_the_subject_out() -> None:
    (pool,) = (skill for skill in SKILLS if skill.key == "pool")
    model, accuracy = train(pool, "high")
    assert accuracy == 1
    asked = pd.DataFrame({"text": ["and until when?", "what does the towel cost"]})
    assert list(model.predict(asked)) == ["Pool: 7 to 21.", "Pool: 7 euros."]


def test_the_example_release_has_every_adapter() -> None:
    manifest = load_manifest(RELEASES / "v0.0.1.yaml")
    assert {key: model.name for key, model in manifest.models.items()} == {s.key: s.model for s in SKILLS}
    assert len(manifest.models) == 20
