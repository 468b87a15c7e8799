"""mlops:index:Live: the release that owns writes and gets the traffic.

There is exactly one in every environment, also before the first release, and it depends on all else. Its
check, at every preview and update, is where a stale config is refused; its apply is the handover, the same
function that `mlops deploy` calls, which finds the pointer there already after one.
"""

import getpass
from collections.abc import Sequence

from mlops_sdk.provider.clusters import (
    config_document,
    is_on_cluster,
    schedules_of,
    services_of,
    traffic_of,
)
from mlops_sdk.provider.guard import can_be_asked, lease_token, refuse_if_moved
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain


class LiveHandler(Handler):
    """Inputs: `digest` and `servicePort` of the release, both absent before the first one.

    Output: `pointer`, the digest that is live. Weights of a shift, `next` and `basis` are no part of it.
    """

    type = "mlops:index:Live"
    optional = ("digest", "servicePort")

    def check(self, env: Environment, inputs: Plain) -> Sequence[tuple[str, str]]:
        del inputs
        refuse_if_moved(env)
        return ()

    def identify(self, inputs: Plain) -> str:
        del inputs
        return "live"

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        del env
        return {"pointer": inputs.get("digest") or ""}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        wanted = inputs.get("digest")
        if not wanted:
            return None
        if outputs.get("pointer") != wanted:
            return "pointer"
        if is_on_cluster(env) and not can_be_asked(env):
            return None
        if not _is_routed(env, str(wanted), int(inputs["servicePort"])):
            return "pointer"
        if not can_be_asked(env):
            return None
        return None if self.read(env, inputs) == {"pointer": wanted} else "pointer"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        if not inputs.get("digest"):
            return
        from mlops_sdk.stack import config
        from mlops_sdk.traffic.handover import handover

        handover(
            conninfo=env.operator().operator_url,
            environment=env.name,
            target=str(inputs["digest"]),
            traffic=traffic_of(env),
            schedules=schedules_of(env),
            lease=lease_token(env),
            actor=getpass.getuser(),
            reason="pulumi up: stack config names this release live",
            cause=config.cause_of(config_document(env)),
        )

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        if not inputs.get("digest"):
            return {"pointer": ""}
        if is_on_cluster(env):
            can_be_asked(env)  # it opens the way there: a refresh makes no check, which would have done so
        from mlops_sdk.ledger.database import connect
        from mlops_sdk.ledger.store import read_pointer

        with connect(env.operator().operator_url, "mlops refresh") as conn:
            return {"pointer": read_pointer(conn, env.name).digest or ""}

    def delete(self, env: Environment, inputs: Plain) -> None:
        del inputs
        env.leaving.set()


def _is_routed(env: Environment, digest: str, port: int) -> bool:
    """Whether the router's slot `current` is this service; `next` and its share are a shift's business.

    On a cluster a release's service is known by its name; its port is the same as every other's.
    """
    from mlops_sdk.errors import NotFoundError

    try:
        current = traffic_of(env).read().current_port
    except NotFoundError:
        return False
    if not is_on_cluster(env):
        return current == port
    from mlops_sdk.platform.reach import service_name

    return current is not None and services_of(env).get(current) == service_name(digest)
