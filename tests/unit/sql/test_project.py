"""A dbt project as its files tell: what a model reads, what its digest covers, what its lineage is."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.sql.lineage import Lineage, Node, draw, lineage
from mlops_sdk.sql.project import read_project
from mlops_sdk.sql.run import workspace
from mlops_sdk.state.fingerprint import fingerprints
from mlops_sdk.state.specs import describe_state
from mlops_sdk.workload.sql_job import plan_run
from pipelines.rfm.tables import STATE
from tests.support.locks import make_lock
from tests.support.postgres import ROOT

RFM = ROOT / "pipelines" / "rfm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three models: b reads a through ephemeral e; c stands alone."""
    write(tmp_path, "dbt_project.yml", "name: shop\n")
    write(tmp_path, "models/a.sql", "select {{ cents('amount') }} from {{ source('release', 'purchases') }}")
    write(tmp_path, "models/e.sql", "{{ config(materialized='ephemeral') }} select * from {{ ref('a') }}")
    write(tmp_path, "models/b.sql", "select '{{ var(\"day\") }}', '{{ var(\"n\", 1) }}' from {{ ref('e') }}")
    write(tmp_path, "models/c.sql", "select 1 as n")
    write(tmp_path, "macros/money.sql", "{% macro cents(x) %}{{ rounded(x) }} * 100{% endmacro %}")
    write(tmp_path, "macros/rounding.sql", "{%- macro rounded(x) -%}round({{ x }}){%- endmacro -%}")
    write(tmp_path, "macros/other.sql", "{% macro other() %}1{% endmacro %}")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_model_reads_what_its_ephemeral_models_read_and_needs_their_variables(folder: Path) -> None:
    project = read_project(folder)
    assert project.reads("a") == {"purchases"}
    assert project.reads("b") == {"a"}
    assert project.variables("b") == {"day"}
    assert project.reads("c") == set()


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("models/a.sql", "select 2 from {{ source('release', 'purchases') }}", {"a"}),
        ("models/e.sql", "{{ config(materialized='ephemeral') }} select 1 from {{ ref('a') }}", {"b", "e"}),
        ("macros/rounding.sql", "{% macro rounded(x) %}floor({{ x }}){% endmacro %}", {"a"}),
        ("macros/other.sql", "{% macro other() %}2{% endmacro %}", set()),
        (
            "models/more.yml",
            "models: [{name: c, config: {pre_hook: select 1}}, {name: a, description: x}]",
            {"c"},
        ),
        ("dbt_project.yml", "name: shop\nvars: {n: 2}\n", {"a", "b", "c", "e"}),
    ],
)
def test_a_digest_changes_with_what_makes_the_models_sql_and_with_nothing_else(
    folder: Path, file: str, text: str, changed: set[str]
) -> None:
    before = {name: read_project(folder).digest(name) for name in "abce"}
    write(folder, file, text)
    project = read_project(folder)
    assert {name for name in before if project.digest(name) != before[name]} == changed


@pytest.mark.parametrize(
    "call",
    [
        "shop.other()",
        "adapter.dispatch('other')()",
        "adapter.dispatch(macro_name='other', macro_namespace='shop')()",
        "[other][0]()",
    ],
)
@pytest.mark.parametrize("name", ["other", "default__other"])
def test_a_digest_has_the_macro_in_whatever_way_it_is_called(folder: Path, call: str, name: str) -> None:
    write(folder, "models/c.sql", f"select {{{{ {call} }}}} as n")
    write(folder, "macros/other.sql", f"{{% macro {name}() %}}1{{% endmacro %}}")
    before = read_project(folder).digest("c")
    write(folder, "macros/other.sql", f"{{% macro {name}() %}}2{{% endmacro %}}")
    assert read_project(folder).digest("c") != before


@pytest.mark.parametrize(
    ("file", "rebuilt"),
    [
        ("models/state/customers.sql", {"customers", "scores", "segments"}),
        ("models/state/scores.sql", {"scores", "segments"}),
        ("models/state/segments.sql", {"segments"}),
        ("models/daily/rfm_daily.sql", set()),
        ("macros/segment.sql", {"scores", "segments"}),
    ],
)
def test_a_changed_file_of_rfm_makes_other_tables_of_those_downstream_of_it_and_of_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, rebuilt: set[str]
) -> None:
    shutil.copytree(RFM, tmp_path / "pipelines" / "rfm")
    monkeypatch.chdir(tmp_path)

    def found() -> dict[str, str]:
        specs = describe_state(STATE, tmp_path)
        lock = make_lock(tables=tuple(specs.values()), parameters={"observed_until": "1997-09-30"})
        return fingerprints(lock, {"purchases.purchases": "1"})

    before, changed = found(), tmp_path / "pipelines" / "rfm" / "dbt" / file
    changed.write_text(changed.read_text() + "\n-- and another line\n")
    after = found()
    assert {name for name in before if after[name] != before[name]} == rebuilt


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("select {{ ref(name) }}", "something else than names in quotes"),
        ("select\n{% if %}", "c.sql:2"),
        ("select * from {{ source('shop', 'purchases') }}", "reads tables of the release only"),
        ("select * from {{ ref('nowhere') }}", "there is no model nowhere"),
    ],
)
def test_what_cannot_be_known_without_running_it_is_refused(folder: Path, text: str, sentence: str) -> None:
    write(folder, "models/c.sql", text)
    with pytest.raises(InputError, match=sentence):
        read_project(folder).reads("c")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("models/m.yml", b"models: 3", r"m\.yml: its `models` are no list"),
        ("models/m.yml", b"- name: a", r"m\.yml: its `models` are no list"),
        ("models/m.yml", b"models: [{config: {}}]", r"m\.yml: its `models` are no list"),
        ("models/m.yml", b"models: [", r"m\.yml: no YAML"),
        ("models/c.sql", b"select '\xff'", r"c\.sql: byte 8 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder: Path, file: str, content: bytes, sentence: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_project(folder)


def test_a_yaml_file_that_is_empty_or_has_no_model_yet_says_nothing(folder: Path) -> None:
    before = read_project(folder).digest("a")
    write(folder, "models/m.yml", "models:\n")
    write(folder, "models/n.yml", "")
    assert read_project(folder).digest("a") == before


def test_dbt_works_on_all_models_and_on_nothing_that_it_wrote_before(folder: Path) -> None:
    write(folder, "models/logs/visits.sql", "select 1")
    write(folder, "target/manifest.json", "{}")
    write(folder, "logs/dbt.log", "")
    with workspace(folder, build=False) as copy:
        assert (copy / "models" / "logs" / "visits.sql").is_file()
        assert not (copy / "target").exists()
        assert not (copy / "logs").exists()
    assert not copy.exists()


def test_a_folder_without_a_project_and_two_models_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no dbt_project\.yml"):
        read_project(folder / "models")
    write(folder, "models/more/a.sql", "select 1")
    with pytest.raises(InputError, match="two models are named a"):
        read_project(folder)


def test_a_run_takes_models_that_the_release_has_not_and_reads_the_others_from_it(folder: Path) -> None:
    project = read_project(folder)
    whole = plan_run(project, ["b"], "rel", "scratch", "x", frozenset({"purchases"}))
    assert whole.models == ("a", "b")
    assert whole.places == {
        "purchases": ("rel", "purchases"),
        "a": ("scratch", "a__x"),
        "b": ("scratch", "b__x"),
    }
    upper = plan_run(project, ["b"], "rel", "scratch", "x", frozenset({"purchases", "a", "b"}))
    assert upper.models == ("b",)
    assert upper.places == {"a": ("rel", "a"), "b": ("scratch", "b__x")}


def test_the_lineage_of_the_rfm_models_is_drawn_as_committed() -> None:
    found = lineage(read_project(RFM / "dbt"))
    assert found.reads("segments") == ["scores"]
    assert (RFM / "lineage.svg").read_text() == draw(found), "mlops sql lineage pipelines/rfm/dbt --svg ..."


@given(
    st.lists(st.text("ab<&", min_size=1, max_size=4), unique=True, min_size=1, max_size=9).flatmap(
        lambda names: st.tuples(st.just(names), st.sets(st.tuples(*[st.integers(0, len(names) - 1)] * 2)))
    )
)
def test_every_edge_of_a_picture_goes_from_left_to_right(
    given_: tuple[list[str], set[tuple[int, int]]],
) -> None:
    names, pairs = given_
    edges = sorted((names[start], names[end]) for start, end in pairs if start < end)
    drawn = draw(Lineage(tuple(Node(name, "model") for name in names), tuple(edges)))
    picture = ET.fromstring(drawn)  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    left = {
        str(box.findtext(f"{space}text")): int(box.find(f"{space}rect").attrib["x"])  # type: ignore[union-attr]
        for box in picture.iter(f"{space}g")
    }
    assert set(left) == set(names)
    assert all(left[start] < left[end] for start, end in edges)
