"""The router of the kubernetes and gcp kinds: one HTTPRoute of the Gateway API, whose rules this module owns.

Pulumi makes the route and ignores its rules. A change replaces all rules at once, so that a request sees one state
of them, and returns when the Gateway's controller has taken it up. Must not know Postgres: who may write is decided
elsewhere, and the router may lead or lag.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from mlops_sdk.cluster.api import ApiServer, ConflictError, Object
from mlops_sdk.errors import DeadlineError, MlopsError, NotFoundError
from mlops_sdk.traffic.gateway_rules import Split, rules_of, split_of
from mlops_sdk.traffic.port import Routes

ROUTE = "route"
SERVICE_PORT = 8000
"""Port of every release's Service."""

# Shorter than the time that a transaction of a deployer may be idle: one is open meanwhile.
_TAKEN_UP_S = 8.0
_LOOK_AGAIN_S = 0.1
_TRIES = 5

Services = Callable[[], Mapping[int, str]]
"""The name of each bound release's Service, by the `service_port` of its binding, which is its number here."""


class GatewayTraffic:
    """`TrafficPort` over the HTTPRoute of an environment. Raises NotFoundError before `mlops up`."""

    def __init__(self, api: ApiServer, services: Services) -> None:
        self._api = api
        self._services = services

    def set_slots(self, current_port: int | None, next_port: int | None) -> None:
        """Name the services of the two slots; a new `next` begins with no traffic."""
        current, following = self._service(current_port), self._service(next_port)

        def change(split: Split) -> Split:
            if (split.current, split.next) == (current, following):
                return split
            return Split(current, following)

        self._change(change)

    def set_weight(self, next_share: int, *, keyless_share: int | None = None) -> None:
        """Send `next_share` of 256 buckets to `next`. Raises ValueError outside of 0..256."""
        keyless = next_share if keyless_share is None else keyless_share
        self._change(lambda split: replace(split, next_share=next_share, keyless_share=keyless))

    def point(self, port: int) -> None:
        """Send everything to `port`, which is `current` afterwards."""
        current = self._service(port)
        self._change(lambda _: Split(current))

    def read(self) -> Routes:
        """What the route's rules say."""
        split = split_of(self._route()["spec"].get("rules") or [])
        ports = {service: port for port, service in self._services().items()}
        return Routes(
            current_port=ports.get(split.current) if split.current else None,
            next_port=ports.get(split.next) if split.next else None,
            next_share=split.next_share,
            keyless_share=split.keyless_share,
        )

    def _service(self, port: int | None) -> str | None:
        if port is None:
            return None
        services = self._services()
        if port not in services:
            raise NotFoundError(f"no bound release has service port {port}", where=self._api.where)
        return services[port]

    def _change(self, change: Callable[[Split], Split]) -> None:
        for _ in range(_TRIES):
            route = self._route()
            before = route["spec"].get("rules") or []
            rules = rules_of(change(split_of(before)), SERVICE_PORT)
            if rules != before:
                # The version that was read: whoever changed the route meanwhile is not overwritten.
                version = {"resourceVersion": route["metadata"]["resourceVersion"]}
                try:
                    route = self._api.merge(
                        "httproutes", ROUTE, {"metadata": version, "spec": {"rules": rules}}
                    )
                except ConflictError:
                    continue  # the controller writes the route's status at any moment
            self._await_controller(route["metadata"]["generation"])
            return
        raise MlopsError(f"the route was changed by others {_TRIES} times meanwhile", where=self._api.where)

    def _await_controller(self, generation: int) -> None:
        deadline = time.monotonic() + _TAKEN_UP_S
        while True:
            if _is_taken_up(self._route(), generation, self._api.where):
                return
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"no Gateway controller took up the route within {_TAKEN_UP_S:.0f} s",
                    where=self._api.where,
                    remedy="does a controller for the class `mlops-sdk:gatewayClass` run in the cluster?",
                )
            time.sleep(_LOOK_AGAIN_S)

    def _route(self) -> Object:
        return self._api.require("httproutes", ROUTE, "`mlops up` makes it")


def _is_taken_up(route: Object, generation: int, where: str) -> bool:
    """Whether a controller has seen this generation. Raises MlopsError with its words where it refuses it.

    A backend that is not ready yet is no refusal of the route.
    """
    for parent in (route.get("status") or {}).get("parents") or []:
        for condition in parent.get("conditions") or []:
            if condition["type"] != "Accepted" or condition.get("observedGeneration", 0) < generation:
                continue
            if condition["status"] == "False":
                raise MlopsError(f"the Gateway refuses the route: {condition.get('message')}", where=where)
            return True
    return False
