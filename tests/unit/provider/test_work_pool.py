"""The job template of the work pool: how Prefect's worker starts a run."""

import shlex

from mlops_sdk.provider.work_pool import job_template

INPUTS = {
    "pool": "mlops",
    "apiUrl": "http://127.0.0.1:1/api",
    "python": "/a project/.venv/bin/python",
    "directory": "/a project",
    "envFolder": "/a project/.mlops/local/env",
}


def test_the_command_survives_spaces_in_every_path() -> None:
    command = job_template(INPUTS)["job_configuration"]["command"]
    filled = (
        command.replace("{{ working_dir }}", "/a project/.mlops/checkouts/1")
        .replace("{{ layer }}", "build-x")
        .replace("{{ python }}", "/a project/.venvs/2/bin/python")
    )
    words = shlex.split(filled)
    assert words[:4] == [
        "/usr/bin/env",
        "PYTHONPATH=/a project/.mlops/checkouts/1",
        "/a project/.venv/bin/python",
        "-P",
    ]
    assert words[5:9] == [
        "--env-file",
        "/a project/.mlops/local/env/environment.env",
        "--env-file",
        "/a project/.mlops/local/env/build-x.env",
    ]
    assert words[9:] == ["--", "/a project/.venvs/2/bin/python", "-m", "prefect.engine"]


def test_every_placeholder_of_the_template_is_a_declared_variable() -> None:
    template = job_template(INPUTS)
    declared = template["variables"]["properties"]
    for value in template["job_configuration"].values():
        for placeholder in value.split("{{")[1:]:
            assert placeholder.split("}}")[0].strip() in declared
