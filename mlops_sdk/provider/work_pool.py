"""mlops:index:WorkPool: a Prefect work pool of processes, by Prefect's REST API.

Its job template starts each run through the platform's launcher, which reads the variables from files: no
secret is ever stored in Prefect. A deployment chooses by job variables: `layer` (the `.env` file read after
`environment.env`), `python` (of the release's dependency environment), `working_dir` (its checkout).
"""

import shlex
from pathlib import Path
from typing import Any

from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain
from mlops_sdk.release.digest import digest_of
from mlops_sdk.traffic.prefect_api import call


class WorkPoolHandler(Handler):
    """Inputs: `pool`, `apiUrl`, `python`, `directory` (both defaults of runs), `envFolder`.

    Output: `template`, the digest of the job template.
    """

    type = "mlops:index:WorkPool"
    required = ("pool", "apiUrl", "python", "directory", "envFolder")
    replace_on = ("pool",)

    def identify(self, inputs: Plain) -> str:
        return str(inputs["pool"])

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        del env
        return {"template": digest_of(job_template(inputs))}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        return None if outputs.get("template") == self.outputs(env, inputs)["template"] else "template"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del env, old
        put_pool(str(inputs["apiUrl"]), str(inputs["pool"]), "process", job_template(inputs))

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        del env
        status, pool = call(str(inputs["apiUrl"]), "GET", f"work_pools/{inputs['pool']}", also=(404,))
        return None if status == 404 else {"template": digest_of(pool["base_job_template"])}

    def delete(self, env: Environment, inputs: Plain) -> None:
        if env.leaving.is_set():
            return  # the server goes, its data stay
        call(str(inputs["apiUrl"]), "DELETE", f"work_pools/{inputs['pool']}", also=(404,))


def put_pool(api_url: str, pool: str, kind: str, template: dict[str, Any]) -> None:
    """Make the pool of Prefect's type `kind`, or give it the template. Raises UnreachableError, MlopsError."""
    body = {"name": pool, "type": kind, "base_job_template": template}
    status, _ = call(api_url, "POST", "work_pools/", body, also=(409,))
    if status == 409:
        call(api_url, "PATCH", f"work_pools/{pool}", {"base_job_template": template})


def job_template(inputs: Plain) -> dict[str, Any]:
    """The pool's base job template: what a run's process is, and the variables a deployment may set. Pure."""
    return {
        "job_configuration": {
            "command": _command(Path(inputs["python"]), Path(inputs["envFolder"])),
            "env": "{{ env }}",
            "labels": "{{ labels }}",
            "name": "{{ name }}",
            "stream_output": "{{ stream_output }}",
            "working_dir": "{{ working_dir }}",
        },
        "variables": {
            "type": "object",
            "properties": {
                "layer": _text("`.env` file of the environment that is read last", "environment"),
                "python": _text("Python that runs the flow", inputs["python"]),
                "working_dir": _text("folder of the flow's code", inputs["directory"]),
                "name": {"title": "Name", "type": "string"},
                "env": {"title": "Environment", "type": "object", "default": {}},
                "labels": {"title": "Labels", "type": "object", "default": {}},
                "stream_output": {"title": "Stream output", "type": "boolean", "default": True},
            },
        },
    }


def _command(python: Path, env_folder: Path) -> str:
    """The line that Prefect's worker splits as a shell would.

    PYTHONPATH is that of the run's own code: the worker's would be the platform's.
    """
    from mlops_sdk.platform import launch

    def quoted(text: str) -> str:
        return shlex.quote(text) if "{{" not in text else f"'{text}'"

    parts = ["/usr/bin/env", "PYTHONPATH={{ working_dir }}", str(python), "-P", launch.__file__]
    parts += ["--env-file", str(env_folder / "environment.env")]
    parts += ["--env-file", f"{env_folder}/{{{{ layer }}}}.env"]
    return " ".join(map(quoted, [*parts, "--", "{{ python }}", "-m", "prefect.engine"]))


def _text(description: str, default: str) -> dict[str, str]:
    return {"type": "string", "description": description, "default": default}
