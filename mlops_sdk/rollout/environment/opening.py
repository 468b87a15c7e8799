"""The one place that wires an environment together: settings, ledger, stack, router, registry.

Opening a session reads files and connects to nothing; only into a cluster it makes a way.
"""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.reach import is_on_cluster
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import read_plain
from mlops_sdk.stack.drive import Stack
from mlops_sdk.traffic.port import TrafficPort
from mlops_sdk.traffic.router_files import FileTraffic

if TYPE_CHECKING:
    from mlops_sdk.platform.inside import Inside
    from mlops_sdk.platform.reach import Place, Reach
    from mlops_sdk.registry.client import Registry


@contextmanager
def open_session(project: Project, environment: str, report: Report = silent) -> Iterator[Session]:
    """Open an environment that `mlops up` has made.

    Raises NotFoundError for an environment that the project lacks or that was never brought up, InputError where
    the shell's variables are those of another one.
    """
    project.check_environment(environment)
    from mlops_sdk.platform.inside import inside, is_inside

    if is_inside(environment):
        here, operator = inside(), OperatorSettings.parse()
        session = _wired(project, environment, report, traffic_of(operator, environment, here), here)
        session.open_services()
        yield session
        return
    place = place_of(project, environment)
    if place is None:
        yield _session(
            project, environment, report, FileTraffic(project.environment_folder(environment) / "router")
        )
        return
    from mlops_sdk.platform.reach import reach

    with ExitStack() as stack:
        reached = stack.enter_context(reach(place))
        operator = OperatorSettings.load(place.folder, "operator")
        traffic = traffic_of(operator, environment, reached)
        session = _session(project, environment, report, traffic, reached)
        session.open_services()
        yield session


def place_of(project: Project, environment: str) -> "Place | None":
    """Return where on a cluster the environment is, by its stack config; None where it is on this machine."""
    from mlops_sdk.platform import reach

    path = project.root / "stacks" / f"Pulumi.{environment}.yaml"
    if not path.exists():
        return None
    document = read_plain(path, environment)
    if not is_on_cluster(config.kind_of(document)):
        return None
    return reach.place_of(
        config.values_of(document),
        app=project.app,
        environment=environment,
        root=project.root,
        folder=project.environment_folder(environment),
    )


def traffic_of(operator: OperatorSettings, environment: str, reached: "Reach | Inside") -> TrafficPort:
    """Return the router of an environment on a cluster: its HTTPRoute, with services named by the ledger."""
    from mlops_sdk.platform.reach import service_name
    from mlops_sdk.traffic.gateway import GatewayTraffic

    ledger = Ledger(operator.operator_url, environment)
    return GatewayTraffic(
        reached.api, lambda: {one.service_port: service_name(one.digest) for one in ledger.bindings()}
    )


def _session(
    project: Project,
    environment: str,
    report: Report,
    traffic: TrafficPort,
    reached: "Reach | None" = None,
) -> Session:
    folder = project.environment_folder(environment)
    if not (folder / "env" / "operator.env").exists():
        raise NotFoundError(
            f"environment {environment} was never brought up on this machine",
            where=str(folder),
            remedy=f"run `mlops up {environment}`",
        )
    return _wired(project, environment, report, traffic, reached)


def _wired(
    project: Project,
    environment: str,
    report: Report,
    traffic: TrafficPort,
    reached: "Reach | Inside | None",
) -> Session:
    """The variables of the process win over the files; a pod has no files."""
    from mlops_sdk.platform.inside import Inside

    if isinstance(reached, Inside):
        operator, settings = OperatorSettings.parse(), EnvironmentSettings.parse()
    else:
        folder = project.environment_folder(environment)
        operator = OperatorSettings.load(folder, "operator")
        settings = EnvironmentSettings.load(folder, "environment")
    if settings.environment != environment:
        raise InputError(
            f"MLOPS_ENVIRONMENT of this shell is {settings.environment}, and its variables win over the files",
            where=environment,
            remedy="begin a new shell, or unset the variables of the other environment",
        )
    return Session(
        project=project,
        environment=environment,
        settings=settings,
        operator=operator,
        ledger=Ledger(operator.operator_url, environment),
        stack=Stack(project, environment, report=lambda line: report(Note(line))),
        traffic=traffic,
        report=report,
        reach=reached,
    )


def registry_of(project: Project, environment: str) -> "Registry":
    """Return the project's model registry: its own, or that of the environment. Raises NotFoundError."""
    # Its HTTP client costs a quarter of a second, and what only asks the ledger needs none.
    from mlops_sdk.platform.inside import is_inside
    from mlops_sdk.registry.client import Registry

    if project.registry_uri:
        return Registry(project.registry_uri)
    if is_inside(environment):
        return Registry(EnvironmentSettings.parse().mlflow_tracking_uri)
    folder = project.environment_folder(environment)
    place = place_of(project, environment)
    if place is not None:
        from mlops_sdk.platform.reach import reach

        # Whoever asks for the registry keeps it for the rest of the command.
        stack = ExitStack()
        atexit.register(stack.close)
        stack.enter_context(reach(place))
    if not (folder / "env" / "environment.env").exists():
        raise NotFoundError(
            f"the project names no registry, and environment {environment} was never brought up",
            where=str(project.root / "pyproject.toml"),
            remedy=f"run `mlops up {environment}`, or set registry_uri in [tool.mlops]",
        )
    values = env_file.load_layers(folder, "environment")
    uri = values.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise InputError(
            "MLFLOW_TRACKING_URI is not set", where=str(folder), remedy=f"run `mlops up {environment}`"
        )
    return Registry(uri)
