"""The resource classes that the program uses. Light to import: no handler, no server.

Inputs are what a handler's docstring lists; secrets are marked by whoever passes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pulumi

from mlops_sdk.platform.program import Program
from mlops_sdk.release.flows import FlowSpec

Text = pulumi.Input[str]


def program_properties(program: Program) -> dict[str, Any]:
    """A program as inputs of Process, without `triggers`; what is None is left out. Pure."""
    properties: dict[str, Any] = {
        "name": program.name,
        "command": list(program.command),
        "directory": str(program.directory),
        "envFiles": [str(path) for path in program.env_files],
        "environment": dict(sorted(program.environment.items())),
        "user": program.user,
        "stopSignal": program.stop_signal,
        "stopTimeoutS": program.stop_timeout_s,
        "readiness": asdict(program.readiness) if program.readiness else None,
        "startTimeoutS": program.start_timeout_s,
    }
    return {key: value for key, value in properties.items() if value is not None}


class EnvFile(pulumi.CustomResource):
    """A `.env` file of the environment, with exactly `values`. Outputs: path and digest of the content."""

    path: pulumi.Output[str]
    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        file: str,
        values: Mapping[str, Text],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"file": file, "values": dict(values), "path": None, "digest": None}
        super().__init__("mlops:index:EnvFile", name, properties, opts)


class Process(pulumi.CustomResource):
    """A supervised program, ready. `triggers`: values whose change restarts it."""

    running: pulumi.Output[bool]

    def __init__(
        self,
        name: str,
        *,
        program: Program,
        triggers: Sequence[Text] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties: dict[str, Any] = {
            **program_properties(program),
            "triggers": list(triggers),
            "running": None,
        }
        super().__init__("mlops:index:Process", name, properties, opts)


class Database(pulumi.CustomResource):
    """Databases, roles, control tables and the ledger of the environment, in its Postgres.

    That is its own server on `port` of 127.0.0.1, or the one that `admin_url` (a secret) names.
    """

    def __init__(
        self,
        name: str,
        *,
        app: str,
        master_key: pulumi.Input[str],
        port: int | None = None,
        admin_url: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties: dict[str, Any] = {"app": app, "masterKey": master_key}
        if admin_url is not None:
            properties["adminUrl"] = admin_url
        else:
            properties |= {"host": "127.0.0.1", "port": port}
        super().__init__("mlops:index:Database", name, properties, opts)


class Queue(pulumi.CustomResource):
    """A message queue in the environment's Postgres (pgmq)."""

    def __init__(self, name: str, *, queue: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops:index:Queue", name, {"queue": queue}, opts)


class WorkPool(pulumi.CustomResource):
    """A Prefect work pool of processes; each run's process gets the variables of the environment's files.

    `python` and `directory` are the defaults of runs whose deployment names none.
    """

    def __init__(
        self,
        name: str,
        *,
        pool: str,
        api_url: str,
        python: Path,
        directory: Path,
        env_folder: Path,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "pool": pool,
            "apiUrl": api_url,
            "python": str(python),
            "directory": str(directory),
            "envFolder": str(env_folder),
        }
        super().__init__("mlops:index:WorkPool", name, properties, opts)


class Flow(pulumi.CustomResource):
    """A flow of a release as a deployment of the work pool, made paused: its state follows the pointer.

    `entrypoint` is `path/to/file.py:function` in `checkout`; `layer` names the variables read after the environment's.
    Runs are processes of `python`, or on a cluster pods of `image`, which holds the files of `commit`.
    """

    def __init__(
        self,
        name: str,
        *,
        flow: str,
        deployment: str,
        spec: FlowSpec,
        pool: str,
        api_url: str,
        checkout: Path,
        layer: str,
        release: str,
        digest: str,
        python: Path | None = None,
        image: str | None = None,
        commit: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties: dict[str, Any] = {
            "flow": flow,
            "deployment": deployment,
            "pool": pool,
            "apiUrl": api_url,
            "entrypoint": spec.run,
            "checkout": str(checkout),
            "layer": layer,
            "release": release,
            "digest": digest,
            "parameters": dict(spec.parameters),
        }
        if spec.schedule is not None:
            properties |= {"schedule": spec.schedule, "timezone": spec.timezone}
        where = {"python": str(python) if python else None, "image": image, "commit": commit}
        properties |= {key: value for key, value in where.items() if value is not None}
        super().__init__("mlops:index:Flow", name, properties, opts)


class Route(pulumi.CustomResource):
    """The router's configuration and slot files. Ports of slots and weights are none of its inputs."""

    digest: pulumi.Output[str]

    def __init__(self, name: str, *, port: int, opts: pulumi.ResourceOptions | None = None) -> None:
        properties = {"port": port, "digest": None}
        super().__init__("mlops:index:Route", name, properties, opts)


class ReleaseState(pulumi.CustomResource):
    """A release's pg_schema and role, cut. Deleting it unreferences the state; only the janitor drops."""

    def __init__(
        self,
        name: str,
        *,
        digest: str,
        release: str,
        pg_schema: str,
        role: str,
        password: Text,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "digest": digest,
            "release": release,
            "pgSchema": pg_schema,
            "role": role,
            "password": password,
        }
        super().__init__("mlops:index:ReleaseState", name, properties, opts)


class Live(pulumi.CustomResource):
    """The release that owns writes and gets the traffic. `digest` None: the pointer is left alone."""

    def __init__(
        self,
        name: str,
        *,
        digest: str | None,
        port: int | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"digest": digest, "servicePort": port}
        super().__init__("mlops:index:Live", name, properties, opts)
