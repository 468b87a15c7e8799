"""mlops:index:Flow: a flow of a release as a deployment of the environment's work pool, by Prefect's REST API.

It is made paused. Whether it is paused is neither input nor output: that follows the pointer, see `traffic.schedules`.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_sdk.errors import NotFoundError
from mlops_sdk.provider.clusters import prefect_url
from mlops_sdk.provider.flow_form import flow_form
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain
from mlops_sdk.release.digest import digest_of
from mlops_sdk.runtime.flow_marks import ASKED_TAG, FLOW_TAG
from mlops_sdk.traffic.prefect_api import call

_KEPT = ("entrypoint", "path", "parameters", "job_variables", "tags", "work_pool_name")


class FlowHandler(Handler):
    """Inputs: `flow` and `deployment` (its names), `apiUrl`, `pool`, `entrypoint` in the folder `checkout`, `layer`,
    `release`, `digest`, `parameters`; `schedule` (cron) and `timezone` where it has a schedule. `python` where runs are
    processes of this machine; where they are pods, `image`, and `commit`, whose files it holds.

    Output: `definition`, the digest of the deployment.
    """

    type = "mlops:index:Flow"
    required = (
        "apiUrl",
        "pool",
        "flow",
        "deployment",
        "entrypoint",
        "checkout",
        "layer",
        "release",
        "digest",
        "parameters",
    )
    optional = ("schedule", "timezone", "python", "image", "commit")
    replace_on = ("flow", "deployment")

    def identify(self, inputs: Plain) -> str:
        return f"{inputs['flow']}/{inputs['deployment']}"

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        del env
        return {"definition": digest_of(definition(inputs))}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        return None if outputs.get("definition") == self.outputs(env, inputs)["definition"] else "definition"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        api_url, wanted = _api_url(env, inputs), definition(inputs)
        flow = call(api_url, "POST", "flows/", {"name": inputs["flow"]})[1]
        # One that is there keeps its state: it may be the live release's.
        new = {} if _found(api_url, inputs) else {"paused": True}
        body = {"name": inputs["deployment"], "flow_id": flow["id"], "enforce_parameter_schema": False}
        form = {"parameter_openapi_schema": _form(env, inputs)}
        call(api_url, "POST", "deployments/", {**body, **wanted, **form, **new})

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        found = _found(_api_url(env, inputs), inputs)
        if found is None:
            return None
        schedules = [
            {"schedule": {"cron": one["schedule"]["cron"], "timezone": one["schedule"]["timezone"]}}
            for one in found["schedules"]
            if one["active"] and "cron" in one["schedule"]
        ]
        kept = {name: found[name] for name in _KEPT}
        return {"definition": digest_of({**kept, "pull_steps": found["pull_steps"], "schedules": schedules})}

    def delete(self, env: Environment, inputs: Plain) -> None:
        if env.leaving.is_set():
            return  # the server goes, its data stay
        api_url = _api_url(env, inputs)
        found = _found(api_url, inputs)
        if found is not None:
            call(api_url, "DELETE", f"deployments/{found['id']}", also=(404,))


def definition(inputs: Plain) -> dict[str, Any]:
    """The deployment as Prefect keeps it, without names and state. Pure."""
    schedule = {"cron": inputs.get("schedule"), "timezone": inputs.get("timezone")}
    checkout = str(inputs["checkout"])
    return {
        "entrypoint": inputs["entrypoint"],
        "path": checkout,
        "parameters": inputs["parameters"],
        "job_variables": {"layer": inputs["layer"], **_place(inputs, checkout)},
        "tags": [FLOW_TAG, f"release:{inputs['release']}", f"{ASKED_TAG}{inputs['digest']}"],
        "work_pool_name": inputs["pool"],
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": checkout}}],
        "schedules": [{"schedule": schedule}] if schedule["cron"] else [],
    }


def _place(inputs: Plain, checkout: str) -> dict[str, Any]:
    """What a run is: a pod of an image, or a process of this machine."""
    if inputs.get("image"):
        return {"image": inputs["image"]}
    return {"python": inputs["python"], "working_dir": checkout}


def _form(env: Environment, inputs: Plain) -> dict[str, Any]:
    """What the flow takes, for who starts it by hand. It follows from the release's code, so drift need not know it."""
    file, function = str(inputs["entrypoint"]).rsplit(":", 1)
    if inputs.get("commit"):
        from mlops_sdk.platform.git import file_at

        try:
            source = file_at(env.root, str(inputs["commit"]), file)
        except NotFoundError as error:
            raise NotFoundError(
                f"what the flow {inputs['flow']} takes cannot be told: {error.what}",
                where=str(env.root),
                remedy="fetch the release's commit into this clone: `git fetch`",
            ) from error
        return flow_form(source.decode(), function)
    path = Path(str(inputs["checkout"])) / file
    if not path.is_file():
        raise NotFoundError(
            f"there is no {file} in the release's checkout",
            where=str(inputs["checkout"]),
            remedy="deploy the release again: its code is checked out anew",
        )
    return flow_form(path.read_text(encoding="utf-8"), function)


def _api_url(env: Environment, inputs: Plain) -> str:
    """Prefect's address as seen from here: that of the inputs is of a pod where the environment is on a cluster."""
    return prefect_url(env) if inputs.get("image") else str(inputs["apiUrl"])


def _found(api_url: str, inputs: Plain) -> dict[str, Any] | None:
    names = "/".join(quote(str(inputs[part]), safe="") for part in ("flow", "deployment"))
    status, found = call(api_url, "GET", f"deployments/name/{names}", also=(404,))
    return None if status == 404 else found
