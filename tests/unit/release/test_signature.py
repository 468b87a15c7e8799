"""What differs between two signatures, in words."""

from mlops_sdk.release.signature import signature_delta


def columns(**types: str) -> list[dict[str, object]]:
    return [{"name": name, "type": kind, "required": True} for name, kind in types.items()]


def test_columns_that_came_went_and_changed_are_each_a_line() -> None:
    old = {"inputs": columns(title="string", genre="string"), "outputs": columns(score="double")}
    new = {"inputs": columns(title="long", budget="double"), "outputs": columns(score="double")}
    assert signature_delta(old, new) == (
        "inputs: title string -> long",
        "inputs: + budget (double)",
        "inputs: - genre",
    )


def test_equal_signatures_differ_in_nothing() -> None:
    same = {"inputs": columns(title="string")}
    assert signature_delta(same, dict(same)) == signature_delta(None, None) == ()


def test_a_column_that_may_be_absent_now_and_another_order_are_said() -> None:
    optional = [{"name": "title", "type": "string", "required": False}]
    assert signature_delta({"inputs": columns(title="string")}, {"inputs": optional}) == (
        "inputs: title string -> string, optional",
    )
    swapped = {"inputs": columns(b="long", a="long")}
    assert signature_delta({"inputs": columns(a="long", b="long")}, swapped) == ("inputs: another order",)


def test_tensors_have_a_type_and_a_shape() -> None:
    def tensor(width: int) -> dict[str, object]:
        spec = {"dtype": "float32", "shape": [-1, width]}
        return {"outputs": [{"type": "tensor", "tensor-spec": spec}]}

    assert signature_delta(tensor(384), tensor(768)) == (
        "outputs: #0 float32 [-1, 384] -> float32 [-1, 768]",
    )


def test_a_signature_that_came_or_went_is_said() -> None:
    assert signature_delta(None, {}) == ("a signature came",)
    assert signature_delta({}, None) == ("the signature is gone",)
