"""For people at work in an environment: its variables, its ports on this machine, a shell, stack config's secrets.

Values of secrets are never returned: they go into the environment of a child process, or from standard input into
encrypted stack config.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_sdk.cluster.api import ApiServer
from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.platform import reach
from mlops_sdk.release.digest import short
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session, place_of
from mlops_sdk.runtime import env_file
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import read_plain
from mlops_sdk.stack.drive import Stack

SECRETS = {
    "masterKey": "what every role's password is derived from; `mlops up` makes it",
    "postgresUrl": "a given Postgres: the address of its administrator",
    "alertWebhook": "the address that is told of dates which were not confirmed",
}
"""The secrets that stack config can hold, and what each is for."""

_LAYER = "environment"


@dataclass(frozen=True)
class Variables:
    """The variables of an environment for this machine or for inside; `secrets` are names only."""

    plain: Mapping[str, str]
    secrets: tuple[str, ...]


def environment_variables(project: Project, environment: str, *, host: bool, release: str = "") -> Variables:
    """The environment's variables, and those of a kept release when one is named.

    `host`: with the addresses that `mlops forward` opens on this machine. Raises NotFoundError.
    """
    project.check_environment(environment)
    place = place_of(project, environment)
    if place is None:
        names = (_LAYER, *_release_layer(project, environment, release))
        return _split(env_file.load_layers(project.environment_folder(environment), *names, environ={}))
    layer = _release_layer(project, environment, release)
    with ApiServer(place.access, place.namespace) as api:
        reach.require_ours(api, environment)
        found: dict[str, str] = {}
        for name in ("env", *layer):
            found.update(reach.stored(api, name))
        if host:
            found = reach.here(
                found, reach.known_ports(place.folder, api), root=place.root, folder=place.folder
            )
        return _split(found)


def forward(
    project: Project, environment: str, command: Sequence[str], ready: Callable[[dict[str, str]], None]
) -> int:
    """Open the environment's ports on this machine and tell `ready` their addresses.

    Then run `command` with the environment's variables and return its exit code; without one wait until a person
    ends it (KeyboardInterrupt).
    """
    with open_session(project, environment) as session:
        ready(session.addresses())
        variables = env_file.load_layers(session.folder, _LAYER, environ={})
        if command:
            return _run(command, variables)
        threading.Event().wait()
    return 0


def shell(project: Project, environment: str, command: Sequence[str], workload: str = "agent") -> int:
    """A shell, or `command`, inside: in a pod of `workload`, or on this machine with the environment's variables.

    Returns its exit code. Raises NotFoundError without kubectl.
    """
    project.check_environment(environment)
    place = place_of(project, environment)
    if place is None:
        folder = project.environment_folder(environment)
        variables = env_file.load_layers(folder, _LAYER, environ={})
        return _run(command or [os.environ.get("SHELL", "/bin/sh")], variables)
    with ApiServer(place.access, place.namespace) as api:
        reach.require_ours(api, environment)
        api.require("deployments", workload, "name another workload with --in")
    if shutil.which("kubectl") is None:
        raise NotFoundError("kubectl is not on PATH", remedy="install it: a shell is made by `kubectl exec`")
    terminal = ["--stdin", *(["--tty"] if os.isatty(0) else [])]
    kubectl = ["kubectl", "--kubeconfig", place.access.file, "--context", place.access.context]
    kubectl += ["--namespace", place.namespace, "exec", *terminal, f"deployment/{workload}", "--"]
    return _run([*kubectl, *(command or ["/bin/sh"])], {})


def secrets(project: Project, environment: str) -> list[dict[str, Any]]:
    """Every secret that stack config can hold, and whether it is set; no value."""
    project.check_environment(environment)
    path = project.root / "stacks" / f"Pulumi.{environment}.yaml"
    values = config.values_of(read_plain(path, environment))
    return [
        {"name": name, "set": f"{config.PROJECT}:{name}" in values, "what": what}
        for name, what in SECRETS.items()
    ]


def set_secret(project: Project, environment: str, name: str, value: str) -> None:
    """Encrypt a secret into stack config. Raises InputError for a name that the program does not read."""
    project.check_environment(environment)
    if name not in SECRETS:
        raise InputError(
            f"stack config has no secret {name!r}", remedy=f"one of: {', '.join(sorted(SECRETS))}"
        )
    if not value:
        raise InputError("the secret is empty", remedy="give it on standard input")
    stack = Stack(project, environment)
    stack.init()
    stack.set_secret(name, value)


def _release_layer(project: Project, environment: str, release: str) -> tuple[str, ...]:
    if not release:
        return ()
    with open_session(project, environment) as session:
        for binding in session.ledger.bindings():
            if release in (binding.release, binding.digest):
                return (f"release-{short(binding.digest)}",)
    raise NotFoundError(f"no kept release is called {release}", where=environment)


def _split(values: Mapping[str, str]) -> Variables:
    plain = {name: value for name, value in sorted(values.items()) if not reach.is_secret(name)}
    return Variables(plain, tuple(name for name in sorted(values) if reach.is_secret(name)))


def _run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    program = shutil.which(command[0])
    if program is None:
        raise NotFoundError(f"there is no program {command[0]!r} on PATH")
    return subprocess.run([program, *command[1:]], env={**os.environ, **variables}, check=False).returncode


def where_it_is(project: Project, environment: str) -> str:
    """Context, server and namespace of an environment on a cluster; empty for one on this machine."""
    place = place_of(project, environment)
    if place is None:
        return ""
    return f"context {place.access.context} ({place.access.server}), namespace {place.namespace}"


def is_production(project: Project, environment: str) -> bool:
    """Whether the environment is the last one of several: where releases end."""
    return len(project.environments) > 1 and environment == project.environments[-1]
