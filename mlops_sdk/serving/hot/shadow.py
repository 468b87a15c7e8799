"""Shadow traffic: some of what `current` answered is also shown to `next`, whose answers nobody waits for.

It runs in a thread of its own, behind a short queue: while that is full, requests are not shown and are counted. It
must never be on the way of an answer.
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from queue import Full, Queue

import numpy as np

from mlops_sdk.serving.hot.lanes import predict
from mlops_sdk.serving.slots.metrics import SlotMetrics
from mlops_sdk.serving.slots.slots import Slots
from mlops_sdk.serving.slots.taps import ServedTick, Tap
from mlops_sdk.serving.slots.turn_back import Watch

TICKS_WAITING = 64
_log = logging.getLogger(__name__)


class Shadow:
    """A tap that shows `slots.shadow_share` of current's requests to the model in `next`.

    `taps` are told of its answers, as slot `shadow`.
    """

    def __init__(self, *, metrics: SlotMetrics, watch: Watch, taps: Sequence[Tap]) -> None:
        self._slots = Slots()
        self._metrics = metrics
        self._watch = watch
        self._taps = taps
        self._queue: Queue[tuple[ServedTick, Slots] | None] = Queue(TICKS_WAITING)
        self._thread: threading.Thread | None = None
        self._chance = random.Random().random  # noqa: S311 - a share of traffic, no secret

    def install(self, slots: Slots) -> None:
        """Follow these slots from now on."""
        self._slots = slots
        if slots.shadow_share > 0 and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
            self._thread.start()

    def took(self, tick: ServedTick) -> None:
        """Choose by chance, a tick at a time, what is shown."""
        slots = self._slots
        if tick.slot != "current" or slots.next is None or self._chance() >= slots.shadow_share:
            return
        try:
            self._queue.put_nowait((tick, slots))
        except Full:
            self._metrics.shadow_dropped.inc(len(tick.requests))

    def stop(self) -> None:
        """End after what is being predicted."""
        if self._thread:
            try:
                self._queue.put_nowait(None)
            except Full:
                pass  # a daemon thread: it ends with the process
            else:
                self._thread.join(timeout=5)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._show(*item)

    def _show(self, tick: ServedTick, slots: Slots) -> None:
        snapshot = slots.next
        if snapshot is None or snapshot.inputs.columns != tick.snapshot.inputs.columns:
            return  # a model of other inputs cannot be asked the same
        side = self._watch.side("next", snapshot)
        matrix = tick.matrix.astype(snapshot.inputs.dtype, copy=False)
        if not snapshot.inputs.missing and not snapshot.inputs.has_text and np.isnan(matrix).any():
            return
        try:
            answers = predict(snapshot, matrix)
        except Exception:  # noqa: BLE001 - a model's code may raise anything; it is what is watched for
            side.failed(len(tick.requests))
            _log.exception("the model in next failed a shadow request")
            return
        side.shadowed(answers, len(tick.requests))
        shown = tick._replace(at=time.time(), slot="shadow", snapshot=snapshot, answers=answers)
        for tap in self._taps:
            if tap is not self:
                tap.took(shown)
