"""Comparing predictions, and the digest of an artifact."""

from pathlib import Path

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.registry.artifact import folder_digest, parse_mlmodel_text, read_mlmodel
from mlops_sdk.registry.compare import compare, differences


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ([0.1, 2], [0.1 + 1e-9, 2.0]),
        ([1e9], [1e9 + 100]),
        ([{"a": "x", "b": [None, True]}], [{"b": [None, True], "a": "x"}]),
        ([], []),
    ],
)
def test_answers_within_the_tolerance_agree(expected: object, got: object) -> None:
    assert compare(expected, got)


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        ([0.1], [0.1001], "output[0]: expected 0.1, got 0.1001"),
        ([1], [True], "output[0]: expected 1, got True"),
        ([None], [0.0], "output[0]: expected None, got 0.0"),
        ([[1], [2, 3]], [[1], [2, 4]], "output[1][1]: expected 3, got 4"),
        ([1, 2], [1], "output: expected 2 values, got 1"),
        ([{"a": 1}], [{"b": 1}], "output[0]: expected the keys ['a'], got ['b']"),
        ([{"a": "x"}], [{"a": "y"}], "output[0].a: expected 'x', got 'y'"),
    ],
)
def test_what_differs_is_named_with_its_place(expected: object, got: object, difference: str) -> None:
    assert differences(expected, got) == (difference,)
    assert not compare(expected, got)


def test_the_tolerance_is_the_callers() -> None:
    assert compare([1.0], [1.05], tolerance=0.1)


def test_the_digest_covers_names_and_content_but_not_what_downloading_adds(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "MLmodel").write_text("a", encoding="utf-8")
    (tmp_path / "data" / "model.pkl").write_bytes(b"b")
    digest = folder_digest(tmp_path)
    (tmp_path / "registered_model_meta").write_text("x", encoding="utf-8")
    assert folder_digest(tmp_path) == digest
    (tmp_path / "data" / "model.pkl").rename(tmp_path / "data" / "model2.pkl")
    renamed = folder_digest(tmp_path)
    (tmp_path / "MLmodel").write_text("b", encoding="utf-8")
    assert len({digest, renamed, folder_digest(tmp_path)}) == 3


def test_the_signature_is_read_with_its_names_and_which_of_them_are_optional() -> None:
    mlmodel = parse_mlmodel_text(
        """\
flavors: {python_function: {}}
signature:
  inputs: '[{"name": "a", "type": "double"}, {"name": "b", "type": "string", "required": false}]'
  outputs: null
""",
        where="MLmodel",
    )
    assert mlmodel.input_names == ("a", "b")
    assert mlmodel.optional_inputs == {"b"}
    assert mlmodel.signature is not None and set(mlmodel.signature) == {"inputs"}


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "flavors: 1", "flavors: {}\nsignature: {inputs: '['}"])
def test_a_file_that_is_no_mlmodel_is_named(text: str) -> None:
    with pytest.raises(InputError, match="x/MLmodel"):
        parse_mlmodel_text(text, where="x/MLmodel")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MLmodel file"):
        read_mlmodel(tmp_path)
