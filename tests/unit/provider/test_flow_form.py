"""What a flow takes is told as Prefect itself would tell it, without running the flow's module."""

from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from mlops_sdk.provider.flow_form import flow_form
from pipelines.rfm import flow

SOURCE = Path(flow.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["backfill", "daily", "train_customer_value"])
def test_a_flow_s_parameters_are_those_that_prefect_finds(name: str) -> None:
    theirs: dict[str, Any] = parameter_schema(getattr(flow, name).fn).model_dump()
    ours = flow_form(SOURCE, name)
    assert ours["properties"] == theirs["properties"]
    assert sorted(ours["required"]) == sorted(theirs.get("required") or [])


def test_what_cannot_be_told_from_the_source_takes_anything() -> None:
    source = "async def go(a: Shape, /, b=list(), *, c: list[int] = [1], d: 'int' = 2): ...\ndef other(): ..."
    found = flow_form(source, "go")
    assert found["required"] == ["a"]
    assert found["properties"] == {
        "a": {"title": "a", "position": 0},
        "b": {"title": "b", "position": 1},
        "c": {"title": "c", "position": 2},
        "d": {"title": "d", "position": 3, "default": 2},
    }
    assert flow_form(source, "elsewhere")["properties"] == {}
