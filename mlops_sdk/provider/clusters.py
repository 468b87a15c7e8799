"""The provider's way to an environment on a cluster: by stack config, the API server and a forward to Postgres.

Under `mlops` the deployer's forwards are used; a bare `pulumi up` opens its own. Must not make anything there.
"""

import atexit
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_sdk.errors import DeadlineError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from mlops_sdk.platform.reach import Reach
    from mlops_sdk.provider.handler import Environment
    from mlops_sdk.traffic.port import TrafficPort
    from mlops_sdk.traffic.schedules import Schedules


def config_document(env: "Environment") -> Any:
    """The stack config that this run of the engine uses, as a document."""
    from mlops_sdk.stack import config_file

    named = os.environ.get("MLOPS_STACK_CONFIG")
    path = Path(named) if named else env.root / "stacks" / f"Pulumi.{env.name}.yaml"
    return config_file.read_plain(path, env.name)


def is_on_cluster(env: "Environment") -> bool:
    """Whether stack config says so; without one the environment is on this machine."""
    from mlops_sdk.platform import reach
    from mlops_sdk.stack import config

    try:
        return reach.is_on_cluster(config.kind_of(config_document(env)))
    except NotFoundError:
        return False


def open_reach(env: "Environment") -> "Reach | None":
    """The open reach of the environment; None where nothing of it can be asked yet."""
    if not is_on_cluster(env):
        return None
    from mlops_sdk.platform import reach
    from mlops_sdk.release.project import load_project
    from mlops_sdk.stack import config

    place = reach.place_of(
        config.values_of(config_document(env)),
        app=load_project(env.root).app,
        environment=env.name,
        root=env.root,
        folder=env.folder,
    )
    stack = ExitStack()
    try:
        found = stack.enter_context(reach.reach(place))
    except (NotFoundError, DeadlineError):
        return None  # before the first update, or while its own Postgres is down
    atexit.register(stack.close)
    return found


def schedules_of(env: "Environment") -> "Schedules | None":
    """The schedules of the environment's releases; None on a cluster that cannot be asked yet."""
    if is_on_cluster(env) and env.reach is None:
        return None
    from mlops_sdk.traffic.schedules import WORK_POOL, PrefectSchedules

    settings = env.settings()
    return PrefectSchedules(settings.prefect_api_url, settings.work_pool or WORK_POOL)


def prefect_url(env: "Environment") -> str:
    """Prefect's address from here, of an environment on a cluster. Raises UnreachableError before there is one."""
    if env.reach is None:
        raise UnreachableError(
            "Prefect cannot be asked before the environment's first update is done",
            where=env.name,
            remedy="do the same again: what was made meanwhile is kept",
        )
    return env.settings().prefect_api_url


def traffic_of(env: "Environment") -> "TrafficPort":
    """The environment's router. Raises NotFoundError where it has none yet."""
    from mlops_sdk.traffic.router_files import FileTraffic

    if not is_on_cluster(env):
        return FileTraffic(env.folder / "router")
    if env.reach is None:
        raise NotFoundError("the environment's cluster has no route yet", where=env.name)
    from mlops_sdk.traffic.gateway import GatewayTraffic

    return GatewayTraffic(env.reach.api, lambda: services_of(env))


def services_of(env: "Environment") -> dict[int, str]:
    """The Service of each bound release by the `service_port` of its binding."""
    from mlops_sdk.ledger.store import Ledger
    from mlops_sdk.platform.reach import service_name

    bindings = Ledger(env.operator().operator_url, env.name).bindings()
    return {one.service_port: service_name(one.digest) for one in bindings}
