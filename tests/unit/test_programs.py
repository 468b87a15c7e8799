"""What supervisord and the launcher are told of a program."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.platform import programs
from mlops_sdk.platform.folders import open_to_everybody, run_folder
from mlops_sdk.platform.memory import pss_mb
from mlops_sdk.platform.program import Program, Readiness, program_document, program_of, supervisord_config

PLACE = programs.Place(
    Path("/project 100% ; #"), Path("/project 100% ; #/.mlops/local"), Path("/venv/bin/python")
)
SECRETS = Path("/project/.mlops/local/env/secret.env")

ALL = (
    programs.postgres(PLACE, port=1, env_file=SECRETS),
    programs.mlflow(PLACE, port=2, env_file=SECRETS),
    programs.prefect_server(PLACE, port=3),
    programs.prefect_worker(PLACE, api_url="http://127.0.0.1:3/api", pool="mlops"),
    programs.agent(PLACE, environment="local", port=6),
    programs.router(PLACE, port=4),
    programs.service(
        name="service-0123456789ab",
        python=Path("/v/bin/python"),
        checkout=Path("/c"),
        port=5,
        env_files=(SECRETS,),
    ),
    programs.job_consumer(
        name="jobs-0123456789ab",
        python=Path("/v/bin/python"),
        checkout=Path("/c"),
        jobs="a.b:JOBS",
        env_files=(SECRETS,),
    ),
    programs.invoker(
        name="invoker-0123456789ab",
        python=Path("/v/bin/python"),
        checkout=Path("/c"),
        jobs="a.b:JOBS",
        port=7,
        env_files=(SECRETS,),
    ),
)


def test_flow_runs_keep_their_temporary_files_in_the_environments_own_folder() -> None:
    worker = next(program for program in ALL if program.name == programs.PREFECT_WORKER)
    assert Path(worker.environment["TMPDIR"]).is_relative_to(PLACE.environment_folder)


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_a_saved_program_reads_back(program: Program) -> None:
    document = program_document(program, mark="0/x", env_file_digests=["d"] * len(program.env_files))
    assert program_of(json.loads(document)) == program


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_every_program_stays_on_this_machine(program: Program) -> None:
    assert "0.0.0.0" not in json.dumps([*program.command, dict(program.environment)])  # noqa: S104


@given(st.text(), st.text())
def test_no_text_of_a_program_reaches_the_config_of_supervisord(argument: str, value: str) -> None:
    plain = Program(name="x", command=("cat",), directory=Path("/"))
    strange = Program(
        name="x",
        command=("cat", argument),
        directory=Path("/") / value.replace("\0", ""),
        environment={"A": value},
    )
    configs = {supervisord_config("../run/s", [each], root=False) for each in (plain, strange)}
    assert len(configs) == 1


def test_a_changed_env_file_changes_the_saved_program() -> None:
    documents = {program_document(ALL[0], mark="0/x", env_file_digests=[each]) for each in "ab"}
    assert len(documents) == 2


def test_sockets_of_a_deep_folder_lie_in_a_closed_one_under_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = tmp_path.joinpath(*["deep"] * 40)
    folder = run_folder(deep)
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run_folder(deep) == folder
    assert run_folder(deep / "other") != folder


def test_a_folder_is_open_only_if_all_above_it_are(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a").chmod(0o700)
    assert open_to_everybody(Path("/"))
    assert not open_to_everybody(inner)
    assert not open_to_everybody(inner / "not made yet")


def test_this_process_takes_memory_and_one_that_is_gone_takes_none() -> None:
    assert pss_mb([os.getpid()]) > 5
    assert pss_mb([2**22 + 1]) == 0


def test_a_readiness_says_what_it_asks() -> None:
    assert Readiness.http(1, "/readyz") == Readiness("http", 1, "/readyz", 200)
