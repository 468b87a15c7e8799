"""What `make demo-all` makes of a pipeline's manifest: the same under another tag, and with what a part changes."""

from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML

from mlops_sdk.release.manifest_file import load_manifest
from tools.demo.pipelines.dates import Victim
from tools.demo.pipelines.stage import changed

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted(ROOT.glob("pipelines/*/releases/v0.0.1.yaml"))


def document(path: Path) -> Any:
    return YAML().load(path.read_text())


@pytest.mark.parametrize("path", MANIFESTS, ids=[path.parts[-3] for path in MANIFESTS])
def test_a_pipelines_manifest_under_another_tag_is_the_same_release_otherwise(
    path: Path, tmp_path: Path
) -> None:
    made, text = tmp_path / "v0.0.201.yaml", StringIO()
    YAML().dump(changed(document(path), "v0.0.201", {}), text)
    made.write_text(text.getvalue())
    before, after = load_manifest(path), load_manifest(made)
    assert after == before.model_copy(update={"release": "v0.0.201"})


def test_a_version_takes_the_place_of_an_alias_and_a_parameter_that_of_its_value() -> None:
    movies = changed(
        document(ROOT / "pipelines/movies/releases/v0.0.1.yaml"), "v0.0.202", {"models.rating.version": 3}
    )
    assert dict(movies["models"]["rating"]) == {"name": "movie-rating", "version": 3}
    rfm = changed(
        document(ROOT / "pipelines/rfm/releases/v0.0.1.yaml"),
        "v0.0.202",
        {"parameters.observed_until": "1997-12-31"},
    )
    assert rfm["parameters"] == {"observed_until": "1997-12-31"}


def test_both_demos_kill_the_same_processes() -> None:
    from tools.demo import customers

    assert get_args(Victim) == get_args(customers.Victim)
