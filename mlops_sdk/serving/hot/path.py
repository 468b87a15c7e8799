"""The hot path: from a request's bytes to a lane. One table of paths, one canary, both replaced by one assignment.

It serves `POST /predict`, `/invocations` and `/v2/models/.../infer`; everything else is FastAPI's. It knows neither
sockets nor ASGI: those hand it a `HotRequest` (`protocol`, `asgi`).
"""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from mlops_sdk.errors import InputError
from mlops_sdk.serving import tracing
from mlops_sdk.serving.hot.lanes import Lane
from mlops_sdk.serving.hot.predict_api import PredictEndpoint
from mlops_sdk.serving.hot.request import Endpoint, Head, HotRequest, Refusal
from mlops_sdk.serving.hot.scoring_api import ScoringEndpoint
from mlops_sdk.serving.hot.tensor_api import TensorEndpoint
from mlops_sdk.serving.slots.canary import COOKIE, Canary
from mlops_sdk.serving.slots.metrics import SlotMetrics
from mlops_sdk.serving.slots.slots import SlotName, Slots, Snapshot
from mlops_sdk.serving.slots.taps import Tap
from mlops_sdk.serving.slots.turn_back import Watch

# A browser sends it back; a script of a page need not read it.
_COOKIE = COOKIE.encode() + b"=%b; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
JSON_HEAD = Head([(b"content-type", b"application/json")])


@dataclass(frozen=True, eq=False)
class Route:
    """A path of the hot path. `lane` is the one that answers whatever the canary says; None: the canary decides."""

    endpoint: Endpoint
    lane: Lane | None = None


@dataclass(frozen=True, eq=False)
class Lanes:
    """What is installed: both lanes, the canary, the paths."""

    current: Lane | None
    next: Lane | None
    canary: Canary
    routes: dict[bytes, Route]
    always_current: bool


@dataclass(frozen=True)
class Limits:
    """What a request may hold: bytes of its body (16 MiB), rows (10,000)."""

    body_bytes: int = 16 * 2**20
    rows: int = 10_000


class HotPath:
    """`headers_of` gives the headers of every answer of a snapshot in a slot; `taps` are told what was answered.

    With `sticky_cookie`, a request without a key gets a bucket in a cookie while traffic is divided.
    """

    def __init__(
        self,
        *,
        metrics: SlotMetrics,
        taps: Sequence[Tap],
        executor: Executor,
        headers_of: Callable[[SlotName, Snapshot], Sequence[tuple[bytes, bytes]]],
        limits: Limits,
        app: str,
        key_header: bytes,
        watch: Watch | None = None,
        sticky_cookie: bool = False,
    ) -> None:
        self.limits = limits
        self._metrics = metrics
        self._taps = taps
        self._executor = executor
        self._headers_of = headers_of
        self._app = app
        self._key_header = key_header
        self._watch = watch
        self._sticky_cookie = sticky_cookie
        self._chance = random.Random().random  # noqa: S311 - a share of traffic, no secret
        self._predict = PredictEndpoint()
        self._scoring = ScoringEndpoint()
        self._lanes = Lanes(None, None, Canary(1.0), self._fixed_routes(), True)

    @property
    def routes(self) -> dict[bytes, Route]:
        """Paths by their bytes, as now installed."""
        return self._lanes.routes

    def install(self, slots: Slots) -> None:
        """Serve these slots from now on; what is waiting in the lanes of before is answered by them."""
        before = self._lanes
        watch = self._watch if slots.next is not slots.current else None
        current = self._lane("current", slots.current, before.current, watch)
        following = self._lane("next", slots.next, before.next, watch)
        canary = Canary(slots.share_of_current, self._app, self._key_header)
        routes = {**self._fixed_routes(), **_versioned(current, following)}
        self._lanes = Lanes(current, following, canary, routes, slots.share_of_current >= 1.0)

    def take(self, request: HotRequest, route: Route) -> None:
        """Answer `request`, whose body is complete, now or in the next tick."""
        lanes, headers = self._lanes, request.headers
        request.request_id = tracing.request_id(headers)
        if b"traceparent" in headers:
            request.extra = tracing.passed_on(headers)
        lane = route.lane
        if lane is None:
            if lanes.always_current and b"x-mlops-slot" not in headers:
                lane = lanes.current
            else:
                if self._sticky_cookie and (found := lanes.canary.new_bucket(headers, self._chance)):
                    headers = {**headers, b"x-mlops-bucket": found}
                    request.extra = (*request.extra, (b"set-cookie", _COOKIE % found))
                lane = lanes.next if lanes.canary.slot(headers, self._chance) == "next" else lanes.current
            lane = lane or lanes.current or lanes.next
        if lane is None:
            self.refuse(request, 503, "no model is loaded")
            return
        try:
            payload = request.endpoint.read(request, lane.snapshot.inputs)
            if type(payload) is not list and type(payload) is not np.ndarray:
                raise Refusal(422, "data: expected a list of rows")
            rows = len(payload)
            if not 0 < rows <= self.limits.rows:
                raise Refusal(422, f"data: expected 1 to {self.limits.rows} rows, got {rows}")
        except Refusal as error:
            lane.refuse(request, error.status, error.message)
        except InputError as error:
            lane.refuse(request, 422, error.what)
        else:
            request.payload, request.rows = payload, rows
            lane.add(request)

    def refuse(self, request: HotRequest, status: int, message: str) -> None:
        """Answer with an error where no lane can."""
        self._metrics.refused.labels(str(status)).inc()
        request.request_id = request.request_id or tracing.request_id(request.headers)
        request.connection.answer(request, status, JSON_HEAD, request.endpoint.problem(status, message))

    def _fixed_routes(self) -> dict[bytes, Route]:
        return {b"/predict": Route(self._predict), b"/invocations": Route(self._scoring)}

    def _lane(
        self, slot: SlotName, snapshot: Snapshot | None, before: Lane | None, watch: Watch | None
    ) -> Lane | None:
        if snapshot is None:
            return None
        seen = watch.side(slot, snapshot) if watch else None
        if before is not None and before.snapshot is snapshot and before.watch is seen:
            return before
        return Lane(
            slot,
            snapshot,
            headers=self._headers_of(slot, snapshot),
            stats=self._metrics.lane(slot, snapshot.name, snapshot.version),
            taps=self._taps,
            executor=self._executor,
            watch=seen,
        )


def _versioned(current: Lane | None, following: Lane | None) -> dict[bytes, Route]:
    """The paths of the Open Inference Protocol: a model by its name, and a version of it."""
    found: dict[bytes, Route] = {}
    lanes = [lane for lane in (following, current) if lane is not None]  # of two alike, current answers
    both = len(lanes) == 2 and lanes[0].snapshot.name == lanes[1].snapshot.name
    for lane in lanes:
        name, version = lane.snapshot.name, lane.snapshot.version
        found[f"/v2/models/{name}/infer".encode()] = Route(TensorEndpoint(name), None if both else lane)
        path = f"/v2/models/{name}/versions/{version}/infer"
        found[path.encode()] = Route(TensorEndpoint(name), lane)
    return found
