"""A lane: the requests that one snapshot in one slot answers, a predict call for all that arrived in one loop tick.

No timer and no size to tune: a request waits for those that are already there, never for others. A call that would
hold up the loop is made in the executor thread; what arrives meanwhile goes in the next call.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.errors import InputError
from mlops_sdk.serving.hot.request import Head, HotRequest, Refusal
from mlops_sdk.serving.slots.metrics import LaneStats
from mlops_sdk.serving.slots.slots import SlotName, Snapshot
from mlops_sdk.serving.slots.taps import Served, ServedTick, Tap

# Rows of one predict call; more are predicted in several.
ROWS_OF_A_CALL = 8_192
# Requests that wait for one lane: more than a burst, and what a client would wait for in vain.
WAITING_AT_MOST = 2_048
ENTITY_HEADER = b"x-mlops-entity"

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_log = logging.getLogger(__name__)


class Lane:
    """`snapshot` in `slot`. `headers` are those of every answer; `taps` are told of every tick.

    `watch` gets what is needed to compare slots, while they are compared.
    """

    def __init__(
        self,
        slot: SlotName,
        snapshot: Snapshot,
        *,
        headers: Sequence[tuple[bytes, bytes]],
        stats: LaneStats,
        taps: Sequence[Tap],
        executor: Executor,
        watch: Any = None,
    ) -> None:
        self.slot = slot
        self.snapshot = snapshot
        self.json_head = Head([_JSON, *headers])
        self.binary_head = Head([_BINARY, *headers])
        self.used = b',"model_used":"%b"}' % slot.encode()
        self._stats = stats
        self._taps = taps
        self._executor = executor
        self.watch = watch
        self._loop = asyncio.get_running_loop()
        self._waiting: list[HotRequest] = []
        self._busy = False

    def add(self, request: HotRequest) -> None:
        """Answer `request` in the next tick."""
        waiting = self._waiting
        if not waiting:
            if not self._busy:
                self._loop.call_soon(self._flush)
        elif len(waiting) >= WAITING_AT_MOST:
            self.refuse(request, 503, "too many requests are waiting")
            return
        self._stats.in_flight += 1
        waiting.append(request)

    def refuse(self, request: HotRequest, status: int, message: str) -> None:
        """Answer with an error, and count it."""
        self._stats.answered(status, (time.perf_counter() - request.began,))
        if self.watch is not None and status >= 500:
            self.watch.failed(1)
        request.connection.answer(request, status, self.json_head, request.endpoint.problem(status, message))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        found = self._matrix(waiting)
        if found is None:
            return
        matrix, requests = found
        if self.snapshot.inline(len(matrix)):
            self._answer(requests, matrix, _predicted(self.snapshot, matrix, requests))
            return
        self._busy = True
        future = self._loop.run_in_executor(self._executor, _predicted, self.snapshot, matrix, requests)
        future.add_done_callback(lambda done: self._done(requests, matrix, done))

    def _done(self, requests: list[HotRequest], matrix: NDArray[Any], done: "asyncio.Future[Any]") -> None:
        self._busy = False
        if self._waiting:
            self._loop.call_soon(self._flush)
        if done.cancelled() or done.exception():  # the executor was shut down
            for request in requests:
                self._gone(request, 503, "the server is stopping")
            return
        self._answer(requests, matrix, done.result())

    def _matrix(self, waiting: list[HotRequest]) -> tuple[NDArray[Any], list[HotRequest]] | None:
        """The rows of all requests as one matrix; those whose rows are wrong are answered."""
        inputs = self.snapshot.inputs
        if len(waiting) == 1:
            payload = waiting[0].payload
        elif all(type(request.payload) is list for request in waiting):
            payload = []
            for request in waiting:
                payload += request.payload
        else:
            payload = None
        try:
            if payload is not None and len(payload) <= ROWS_OF_A_CALL * 4:
                return (inputs.matrix(payload) if type(payload) is list else payload), waiting
        except InputError:
            pass  # whose rows are wrong is found out one by one
        parts, good = [], []
        for request in waiting:
            try:
                rows = request.payload
                parts.append(inputs.matrix(rows) if type(rows) is list else rows)
                good.append(request)
            except InputError as error:
                self._gone(request, 422, error.what)
        return (np.concatenate(parts), good) if good else None

    def _gone(self, request: HotRequest, status: int, message: str) -> None:
        self._stats.in_flight -= 1
        self.refuse(request, status, message)

    def _answer(self, requests: list[HotRequest], matrix: NDArray[Any], answers: Any) -> None:
        if type(answers) is list:
            self._answer_each(requests, matrix, answers)
            return
        stats, first, values = self._stats, 0, None
        for request in requests:
            last = first + request.rows
            endpoint = request.endpoint
            if endpoint.wants_arrays:
                part: Any = answers[first:last]
            else:
                if values is None:
                    values = answers.tolist()
                part = values[first:last] if last - first != len(values) else values
            head, body = endpoint.write(request, self, part)
            request.connection.answer(request, 200, head, body)
            first = last
        now = time.perf_counter()
        seconds = [now - request.began for request in requests]
        stats.in_flight -= len(requests)
        stats.rows += len(matrix)
        stats.answered(200, seconds)
        if self.watch is not None:
            self.watch.answered(seconds, answers)
        if self._taps:
            self._tell(requests, matrix, answers)

    def _answer_each(self, requests: list[HotRequest], matrix: NDArray[Any], answers: list[Any]) -> None:
        """After a call that failed: each request has its own answers, or its own error."""
        first = 0
        for request, answer in zip(requests, answers, strict=True):
            last = first + request.rows
            if isinstance(answer, Exception):
                _log.error("request %s: the model failed", request.request_id.decode(), exc_info=answer)
                self._gone(request, 500, "the model failed")
            else:
                self._answer([request], matrix[first:last], answer)
            first = last

    def _tell(self, requests: list[HotRequest], matrix: NDArray[Any], answers: NDArray[Any]) -> None:
        served = [
            Served(request.request_id, request.headers.get(ENTITY_HEADER), request.rows)
            for request in requests
        ]
        tick = ServedTick(time.time(), self.slot, self.snapshot, served, matrix, answers)
        for tap in self._taps:
            tap.took(tick)


def predict(snapshot: Snapshot, matrix: NDArray[Any]) -> NDArray[Any]:
    """The answers of a snapshot to any number of rows."""
    if len(matrix) <= ROWS_OF_A_CALL:
        return snapshot.predictor.predict(matrix)
    parts = [
        snapshot.predictor.predict(matrix[first : first + ROWS_OF_A_CALL])
        for first in range(0, len(matrix), ROWS_OF_A_CALL)
    ]
    return np.concatenate(parts)


def _predicted(snapshot: Snapshot, matrix: NDArray[Any], requests: Sequence[HotRequest]) -> Any:
    """One array for all; where the call fails, a list of an array or an exception for each request."""
    try:
        return predict(snapshot, matrix)
    except Exception as error:  # noqa: BLE001 - a model's code may raise anything, and one request must not fail others
        if len(requests) == 1:
            return [error]
    found: list[Any] = []
    first = 0
    for request in requests:
        last = first + request.rows
        try:
            found.append(predict(snapshot, matrix[first:last]))
        except Exception as error:  # noqa: BLE001 - see above
            found.append(error)
        first = last
    return found


__all__ = ["ROWS_OF_A_CALL", "WAITING_AT_MOST", "Lane", "Refusal", "predict"]
