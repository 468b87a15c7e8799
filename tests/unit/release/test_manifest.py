"""Reading a manifest: what is right, and every fault of what is wrong."""

import json
from pathlib import Path

import pytest

from mlops_sdk.errors import InputError, ManifestError, NotFoundError
from mlops_sdk.release.gates import ErrorRate, ShiftSpec, StepEnd
from mlops_sdk.release.json_schema import manifest_json_schema
from mlops_sdk.release.manifest import Manifest, ModelRef
from mlops_sdk.release.manifest_file import load_manifest

ROOT = Path(__file__).parents[3]
RIGHT = """\
schema: 1
release: v0.0.2
code: {ref: HEAD}
models:
  embedder: {name: movie-embedder, version: 1}
  reranker: {name: movie-reranker, alias: candidate}
state: pipelines.recommender.tables:STATE
service: pipelines.recommender.service:create_app
parameters: {candidates: 200}
"""
MINIMAL = "schema: 1\nrelease: v0.0.2\ncode: {ref: HEAD}\n"


def read(folder: Path, text: str, name: str = "v0.0.2.yaml", scheme: str = "deployment-manager") -> Manifest:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_manifest(path, scheme=scheme)


def faults(folder: Path, text: str, name: str = "v0.0.2.yaml") -> list[tuple[int, str, str]]:
    with pytest.raises(ManifestError) as caught:
        read(folder, text, name)
    return [(fault.line, fault.key, f"{fault.what}; {fault.remedy}") for fault in caught.value.faults]


def test_a_right_manifest_is_read(tmp_path: Path) -> None:
    manifest = read(tmp_path, RIGHT)
    assert manifest.release == "v0.0.2"
    assert manifest.models == {
        "embedder": ModelRef(name="movie-embedder", version=1),
        "reranker": ModelRef(name="movie-reranker", alias="candidate"),
    }
    assert manifest.parameters == {"candidates": 200}


def test_models_state_service_and_parameters_may_be_absent(tmp_path: Path) -> None:
    manifest = read(tmp_path, MINIMAL)
    assert (manifest.models, manifest.state, manifest.service, manifest.parameters) == ({}, None, None, {})


def test_paths_of_data_are_read(tmp_path: Path) -> None:
    manifest = read(tmp_path, MINIMAL + "data: [data/ratings.csv, data/.hidden, images.2026]\n")
    assert manifest.data == ("data/ratings.csv", "data/.hidden", "images.2026")


def test_gates_and_steps_of_traffic_are_read(tmp_path: Path) -> None:
    manifest = read(
        tmp_path,
        MINIMAL
        + "verify:\n  error_rate: {at_most: 0}\n  commands: {ndcg: {run: [python, -m, checks.ndcg]}}\n"
        + "shift: {steps: [5, 50, 100], each: {requests: 500}}\n",
    )
    assert manifest.verify.error_rate == ErrorRate(at_most=0)
    assert manifest.verify.commands["ndcg"].run == ("python", "-m", "checks.ndcg")
    assert manifest.shift == ShiftSpec(steps=(5, 50, 100), each=StepEnd(requests=500))
    assert Manifest.from_document(manifest.document()) == manifest


def test_gates_as_they_are_without_a_word_change_no_digest(tmp_path: Path) -> None:
    plain = read(tmp_path, MINIMAL)
    assert "verify" not in plain.document()
    assert (
        read(tmp_path, MINIMAL + "verify: {min_samples: 100, readiness: {timeout_s: 60}}\n").digest
        == plain.digest
    )


def test_comments_and_layout_do_not_change_the_digest_but_a_parameter_does(tmp_path: Path) -> None:
    digest = read(tmp_path, RIGHT).digest
    head, tail = RIGHT.split("models:")
    assert read(tmp_path, f"# a remark\nmodels:{tail}{head}").digest == digest
    assert read(tmp_path, RIGHT.replace("200", "201")).digest != digest


def test_ten_different_faults_are_all_listed_with_their_lines(tmp_path: Path) -> None:
    text = """\
schema: 2
release: release-2
code: {ref: --upload-pack=x}
modles: {}
models:
  Embedder: {name: movie-embedder, version: 1}
  reranker: {name: movie-reranker, version: 1, alias: candidate}
  third: {version: "1"}
  fourth:
    name: x
state: pipelines.recommender.tables
service: 5
service: pipelines.recommender.service:create_app
parameters: [1]
images: {}
"""
    found = faults(tmp_path, text)
    assert [(line, key) for line, key, _ in found] == [
        (1, "schema"),
        (2, "release"),
        (3, "code.ref"),
        (4, "modles"),
        (6, "models.Embedder"),
        (7, "models.reranker"),
        (8, "models.third.name"),
        (8, "models.third.version"),
        (9, "models.fourth"),
        (11, "state"),
        (12, "service"),
        (13, "service"),
        (14, "parameters"),
        (15, "images"),
    ]
    assert all(what and remedy for _, _, text in found for what, _, remedy in [text.partition("; ")])


def test_a_fault_is_printed_as_file_line_key_fault_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, MINIMAL + "servce: a.b:c\n")
    assert str(caught.value) == f"{tmp_path}/v0.0.2.yaml:4: servce: unknown key; did you mean 'service'?"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ("", 1, "(file)", "not a map of keys"),
        ("- 1\n", 1, "(file)", "not a map of keys"),
        ("release: v0.0.2\ncode: {ref: HEAD}\n", 1, "schema", "missing; write 1"),
        (MINIMAL.replace("1", "true", 1), 1, "schema", "True is not supported"),
        (MINIMAL + "models: {a: {name: x, version: 1.0}}\n", 4, "models.a.version", "whole number"),
        (MINIMAL + "models: {a: {name: x, version: true}}\n", 4, "models.a.version", "true or false, not"),
        (
            MINIMAL + "models: {a: {name: x, version: 0}}\n",
            4,
            "models.a.version",
            "greater than or equal to 1",
        ),
        (MINIMAL + "models: {a: {name: x, version: }}\n", 4, "models.a.version", "empty; write a version"),
        (MINIMAL + "models: {a: {name: x}}\n", 4, "models.a", "neither version nor alias"),
        (MINIMAL + "models: {a: x}\n", 4, "models.a", "not a map"),
        (MINIMAL + "models:\n  a:\n", 5, "models.a", "empty"),
        (MINIMAL + "models: {a: {name: x, vresion: 1, version: 1}}\n", 4, "models.a.vresion", "'version'?"),
        (MINIMAL + "state:\n", 4, "state", "empty; write where the tables are declared"),
        (MINIMAL + "service: a.b\n", 4, "service", "package.module:attribute"),
        (MINIMAL + "service: ''\n", 4, "service", "empty text"),
        (MINIMAL + "verify: [1]\n", 4, "verify", "not a map; write what the release must pass"),
        (
            MINIMAL + "verify:\n  smoke: {tolerance: -1}\n",
            5,
            "verify.smoke.tolerance",
            "greater than or equal",
        ),
        (MINIMAL + "verify:\n  smoke: {tolerance: }\n", 5, "verify.smoke.tolerance", "empty; write how far"),
        (MINIMAL + "verify:\n  catchup: {keys_at_most: 1}\n", 5, "verify.catchup", "'catch_up'?"),
        (MINIMAL + "verify:\n  commands: {a: {run: x}}\n", 5, "verify.commands.a.run", "such as [python"),
        (MINIMAL + "verify:\n  commands: {A: {run: [x]}}\n", 5, "verify.commands.A", "own checks by name"),
        (MINIMAL + "verify:\n  commands: {a: {rnu: [x]}}\n", 5, "verify.commands.a.rnu", "'run'?"),
        (MINIMAL + "verify:\n  error_rate: {at_most: 0.1}\n", 5, "verify.error_rate", "no step of traffic"),
        (MINIMAL + "shift: {steps: [50, 5], each: {seconds: 1}}\n", 4, "shift.steps", "rising percentages"),
        (MINIMAL + "shift: {steps: [5, 200], each: {seconds: 1}}\n", 4, "shift.steps", "rising percentages"),
        (MINIMAL + "shift: {steps: [], each: {seconds: 1}}\n", 4, "shift.steps", "at least 1 item"),
        (MINIMAL + "shift: {steps: [5], each: {}}\n", 4, "shift.each", "write one of them"),
        (MINIMAL + "shift: {steps: [5], each: {seconds: 1, requests: 1}}\n", 4, "shift.each", "one of them"),
        (MINIMAL + "shift: {steps: [5]}\n", 4, "shift.each", "missing; write how long a step takes"),
        (MINIMAL + "data: data/x.csv\n", 4, "data", "is text, not a list; write files and folders"),
        (MINIMAL + "data:\n", 4, "data", "empty; write files and folders under DVC"),
        (MINIMAL + "data:\n  - a\n  - ../b\n", 6, "data[1]", "wrong form; write files and folders"),
        (MINIMAL + "data: [/etc/passwd]\n", 4, "data[0]", "wrong form"),
        (MINIMAL + "data: [a, 5]\n", 4, "data[1]", "not text"),
        (MINIMAL + "data: [a, a]\n", 4, "data", "a path stands twice"),
        (MINIMAL + "data: [a/x.csv.dvc]\n", 4, "data", "name the data itself, a/x.csv;"),
        (MINIMAL + "images: {}\n", 4, "images", "reserved, not supported by this version"),
        (MINIMAL + "images:\n", 4, "images", "reserved, not supported by this version"),
        (MINIMAL + "parameters: {x: .nan}\n", 4, "parameters.x", "no number"),
        (MINIMAL + "parameters:\n  x: [1, &a 2, *a]\n", 5, "parameters.x[2]", "an alias (*a)"),
        (MINIMAL + "parameters: {x: !secret y}\n", 4, "parameters.x", "a tag (!secret)"),
        (MINIMAL + "? [a]\n: 1\n", 4, "(file)", "a key that is no text"),
        ("schema: 1\nrelease: [v0.0.2\ncode: {ref: HEAD}\n", 3, "(syntax)", "not valid YAML"),
        (MINIMAL + "---\nschema: 1\n", 4, "(syntax)", "another document"),
        (MINIMAL + "\x01: 1\n", 4, "(syntax)", "a character that YAML does not allow"),
    ],
)
def test_one_fault_is_named_at_its_line(tmp_path: Path, text: str, line: int, key: str, part: str) -> None:
    found = faults(tmp_path, text)
    mine = [what for found_line, found_key, what in found if (found_line, found_key) == (line, key)]
    assert len(mine) == 1, found
    assert part in mine[0]


def test_an_empty_key_is_reported_once_and_not_also_as_missing(tmp_path: Path) -> None:
    assert [key for _, key, _ in faults(tmp_path, "schema: 1\nrelease: v0.0.2\ncode:\n")] == ["code"]


def test_a_parameter_may_be_null_or_a_date_which_is_text(tmp_path: Path) -> None:
    manifest = read(tmp_path, MINIMAL + "parameters: {a: null, b: 2026-01-01, c: no}\n")
    assert manifest.parameters == {"a": None, "b": "2026-01-01", "c": "no"}


def test_the_tag_must_be_that_of_the_file(tmp_path: Path) -> None:
    assert faults(tmp_path, MINIMAL, "v0.0.3.yaml") == [
        (
            2,
            "release",
            "the file of release v0.0.2 is named v0.0.3.yaml; "
            "name the file v0.0.2.yaml, or write the tag that it is named by",
        )
    ]


def test_the_tag_follows_the_scheme_of_the_project(tmp_path: Path) -> None:
    text = MINIMAL.replace("v0.0.2", "v1.2.3-rc4")
    assert "is not a tag of scheme deployment-manager" in faults(tmp_path, text, "v1.2.3-rc4.yaml")[0][2]
    assert read(tmp_path, text, "v1.2.3-rc4.yaml", "models-as-dependencies").release == "v1.2.3-rc4"


def test_a_tag_that_names_models_names_those_of_the_manifest(tmp_path: Path) -> None:
    tag = "v1.2.3-embedder-v1-reranker-v2"
    text = RIGHT.replace("v0.0.2", tag)
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, text, f"{tag}.yaml", "code-and-model-tags")
    (fault,) = caught.value.faults
    assert (fault.line, fault.key) == (2, "release")
    assert "names version 2 of reranker, the manifest an alias" in fault.what
    pinned = text.replace("alias: candidate", "version: 2")
    assert read(tmp_path, pinned, f"{tag}.yaml", "code-and-model-tags").release == tag


def test_a_manifest_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such release manifest"):
        load_manifest(tmp_path / "v0.0.9.yaml")


def test_a_manifest_that_is_no_text_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "v0.0.2.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        load_manifest(tmp_path / "v0.0.2.yaml")


def test_the_committed_json_schema_is_that_of_the_code() -> None:
    committed = (ROOT / "stacks" / "manifest.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(manifest_json_schema(), indent=2) + "\n", (
        "python -m mlops_sdk.release.json_schema > stacks/manifest.schema.json"
    )


def test_the_committed_releases_are_right() -> None:
    folders = ("stacks/releases", "tools/demo", "pipelines/*/releases")
    found = [path for folder in folders for path in ROOT.glob(f"{folder}/v*.yaml")]
    manifests = [path for path in found if ".lock" not in path.name]
    assert len(manifests) > len(folders)
    for path in manifests:
        load_manifest(path)
