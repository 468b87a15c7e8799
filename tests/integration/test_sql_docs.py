"""The documentation of models, and their form: what `mlops sql docs` and `mlops sql fmt` make."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from mlops_sdk.cli.commands.sql import app
from mlops_sdk.errors import InputError
from mlops_sdk.sql.docs import server, write_docs
from mlops_sdk.sql.formatting import format_project
from tests.support.postgres import ROOT

DBT = ROOT / "pipelines" / "rfm" / "dbt"


def test_the_docs_are_one_page_whose_address_is_told_at_once_until_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlops_sdk.cli", "sql", "docs", str(DBT), "--out", str(tmp_path)]
    with subprocess.Popen([*command, "--serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == f"written: {tmp_path / 'index.html'}\n"
        address = httpx.URL(serving.stdout.readline().strip())
        assert address.host == "127.0.0.1"
        assert "Scores of 1 to 5 and a segment for each customer" in httpx.get(address).text
        with pytest.raises(InputError, match="cannot be listened on"):
            server(tmp_path, address.port or 0)
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 0


def test_a_file_is_no_place_for_them(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: it is a file"):
        write_docs(DBT, tmp_path / "file")


def test_a_picture_that_cannot_be_written_is_told_so(tmp_path: Path) -> None:
    picture = tmp_path / "nowhere" / "lineage.svg"
    with pytest.raises(InputError, match=r"nowhere/lineage\.svg: it cannot be written: No such file"):
        CliRunner().invoke(app, ["lineage", str(DBT), "--svg", str(picture)], catch_exceptions=False)


def test_models_are_brought_into_one_form_and_then_stay(tmp_path: Path) -> None:
    assert format_project(DBT, check=True).changed == ()
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    model = tmp_path / "models" / "a.sql"
    model.write_text("SELECT   1 AS n FROM {{ ref('b') }}")
    assert format_project(tmp_path, check=True).changed == (model,)
    assert model.read_text().startswith("SELECT   1")
    assert format_project(tmp_path, check=False).changed == (model,)
    assert model.read_text() == "select 1 as n from {{ ref('b') }}\n"
    assert format_project(tmp_path, check=True).changed == ()
    model.write_text("select 1)")
    with pytest.raises(InputError, match="1 of 1 files cannot be read"):
        format_project(tmp_path, check=False)
