"""How a flow ends that a person started."""

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.workload.flow_run import by_hand


def test_a_flow_by_hand_ends_with_zero_or_with_one_error_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused() -> None:
        raise InputError("there is no variable", where="MLOPS_SOURCE_URL", remedy="mlops env ENV shows them")

    assert by_hand(lambda: {"a": 1}) == 0
    assert capsys.readouterr() == ("", "")
    assert by_hand(refused) == InputError("").exit_code
    said = capsys.readouterr().err
    assert "there is no variable" in said
    assert "mlops env ENV shows them" in said
    assert "Traceback" not in said


def test_a_flow_by_hand_hides_no_bug() -> None:
    def broken() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        by_hand(broken)
