"""The running parts of a model server in one worker process, and every change of what it serves. Wired here, once.

It must not know HTTP: paths are `canary_api`'s and `standard_api`'s, hot requests `hot_path`'s.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from starlette.requests import Request

from mlops_sdk.errors import InputError, MlopsError, PolicyError, UnreachableError
from mlops_sdk.serving.hot.lanes import predict
from mlops_sdk.serving.hot.path import HotPath
from mlops_sdk.serving.hot.shadow import Shadow
from mlops_sdk.serving.loading.loader import Loader, open_snapshot
from mlops_sdk.serving.loading.own import frame_of
from mlops_sdk.serving.loading.preparing import Order, Prepared
from mlops_sdk.serving.server.access import allowed_reference, check_token, model_reference
from mlops_sdk.serving.server.agreement import LOOK_EVERY_S, Agreement
from mlops_sdk.serving.server.settings import ServerSettings
from mlops_sdk.serving.slots.metrics import SlotMetrics
from mlops_sdk.serving.slots.slots import SlotName, Slots, Snapshot
from mlops_sdk.serving.slots.taps import Tap
from mlops_sdk.serving.slots.turn_back import Watch

JUDGE_EVERY_S = 1.0
_log = logging.getLogger(__name__)


class ModelServer:
    """One worker. `taps` may be added to until requests arrive."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.slots = Slots()
        self.metrics = SlotMetrics()
        self.watch = Watch(settings.turn_back)
        self.taps: list[Tap] = []
        self.turned_back: dict[str, Any] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self.hot_path = HotPath(
            metrics=self.metrics,
            taps=self.taps,
            executor=self._executor,
            headers_of=_headers,
            limits=settings.limits,
            app=settings.app,
            key_header=settings.key_header.lower().encode(),
            watch=self.watch,
            sticky_cookie=settings.sticky_cookie,
        )
        self._shadow = Shadow(metrics=self.metrics, watch=self.watch, taps=self.taps)
        self.taps.append(self._shadow)
        self._loader = Loader()
        self.agreement = Agreement(settings.folder)
        self._prepared: dict[SlotName, Prepared] = {}
        self._snapshots: dict[tuple[str, int, str], Snapshot] = {}
        self._installing = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve what was agreed, and follow it, for as long as the context lasts."""
        duties = [asyncio.create_task(self._follow()), asyncio.create_task(self._judge())]
        try:
            yield
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            self.agreement.leave()
            self._shadow.stop()
            await self._loader.close()
            self._executor.shutdown(wait=False, cancel_futures=True)

    def needs_token(self, request: Request) -> None:
        """A dependency of FastAPI: the call must show the server's token. Raises AuthError."""
        check_token(request, self.settings.admin_token)

    async def predict(self, snapshot: Snapshot, data: Any) -> Any:
        """The model's answers to a DataFrame or a matrix, made in the executor thread. Raises what the model raises.

        The columns of a DataFrame are taken by their names where the model's inputs have names.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, _predict_data, snapshot, data)

    def allowed(self, uri: str) -> Any:
        """The reference of a model that this server may load. Raises InputError, PolicyError."""
        own = model_reference(self.settings.model).name
        return allowed_reference(self.settings.allowed_models or (own,), uri)

    async def change_model(self, uri: str) -> Snapshot:
        """Load the model of `uri` into `next`, in all workers. Raises what `allowed` and preparing raise.

        Changes and loads take turns. The canary's share stays as it is.
        """
        reference = self.allowed(uri)
        async with self.agreement.changing():
            prepared = await self._prepare(reference)
            document = self._agreed()
            await self._agree({**document, "next": prepared.document(), "turned_back": None})
        self.metrics.swaps.labels("next").inc()
        assert self.slots.next is not None
        return self.slots.next

    async def accept_next(self) -> None:
        """Let `current` be what `next` is. Raises PolicyError where `next` holds nothing."""
        async with self.agreement.changing():
            document = self._agreed()
            if not document["next"]:
                raise PolicyError("no model is loaded in next")
            await self._agree({**document, "current": document["next"]})
        self.metrics.swaps.labels("current").inc()

    async def set_shares(self, *, current: float | None = None, shadow: float | None = None) -> None:
        """Divide the traffic: the share of `current`, and that of its requests which `next` sees as shadows."""
        async with self.agreement.changing():
            document = self._agreed()
            if current is not None:
                document = {**document, "share_of_current": current, "turned_back": None}
            if shadow is not None:
                document = {**document, "shadow_share": shadow}
            await self._agree(document)

    def problems(self) -> list[str]:
        """Why this worker is not ready, in words; empty if it is."""
        return [] if self.slots.current else ["no model is loaded"]

    def skew(self) -> bool:
        """Whether a worker serves another generation than this one."""
        return any(worker.generation != self.slots.generation for worker in self.agreement.workers())

    async def _prepare(self, reference: Any) -> Prepared:
        return await self._loader.prepare(
            Order(
                mlflow_uri=self.settings.mlflow_uri,
                cache=str(self.settings.model_cache),
                name=reference.name,
                version=reference.version,
                alias=reference.alias,
            )
        )

    def _agreed(self) -> dict[str, Any]:
        found = self.agreement.read()
        if found is None:
            raise UnreachableError("the server has not loaded its first model yet")
        return found

    async def _agree(self, document: dict[str, Any]) -> None:
        """Serve `document` in this worker first, so that a model that does not load here changes nothing."""
        _check_alike(document)
        document = {**document, "generation": document["generation"] + 1}
        await self._install(document)
        self.agreement.write(document)
        if not await self.agreement.all_follow(document["generation"]):
            _log.warning("a worker does not follow generation %d yet", document["generation"])

    async def _follow(self) -> None:
        while True:
            try:
                document = self.agreement.news()
                if document is not None and document["generation"] > self.slots.generation:
                    await self._install(document)
            except (MlopsError, OSError, ValueError, KeyError):
                _log.exception("what was agreed cannot be served")  # /readyz shows the skew
            await asyncio.sleep(LOOK_EVERY_S)

    async def _install(self, document: dict[str, Any]) -> None:
        async with self._installing:
            if document["generation"] <= self.slots.generation:
                return
            current = await self._snapshot(document["current"])
            following = await self._snapshot(document["next"])
            self.slots = Slots(
                current=current,
                next=following,
                share_of_current=document["share_of_current"],
                shadow_share=document["shadow_share"],
                generation=document["generation"],
            )
            self.turned_back = document["turned_back"]
            self._shadow.install(self.slots)
            self.hot_path.install(self.slots)
            self.metrics.share.set(self.slots.share_of_current)
            self.metrics.generation.set(self.slots.generation)
            kept = (current, following)
            self._snapshots = {key: each for key, each in self._snapshots.items() if each in kept}
            self.agreement.follow(self.slots.generation)

    async def _snapshot(self, document: dict[str, Any] | None) -> Snapshot | None:
        """The snapshot of a prepared version, the same one as long as a slot holds it."""
        if document is None:
            return None
        prepared = Prepared(**document)
        key = (prepared.name, prepared.version, prepared.digest)
        if key not in self._snapshots:
            self._snapshots[key] = await open_snapshot(prepared)
        return self._snapshots[key]

    async def _judge(self) -> None:
        while True:
            await asyncio.sleep(JUDGE_EVERY_S)
            slots = self.slots
            exposed = slots.share_of_current < 1.0 or slots.shadow_share > 0
            if slots.next is None or slots.next is slots.current or not exposed:
                continue
            try:
                verdict = await asyncio.to_thread(self.watch.verdict)
                if verdict.worse:
                    await self._turn_back(slots, verdict.worse, verdict.said)
            except MlopsError as error:
                _log.warning("the slots were not judged: %s", error)
            except Exception:  # noqa: BLE001 - a fault of one look must not end all that come
                _log.exception("the slots were not judged")

    async def _turn_back(self, judged: Slots, worse: str, said: str) -> None:
        async with self.agreement.changing():
            document = self._agreed()
            if document["generation"] != judged.generation:
                return  # somebody changed what was judged
            evidence = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "reason": worse,
                "said": said,
                "model": judged.next.uri if judged.next else None,
                "share_of_current": judged.share_of_current,
            }
            changed = {"share_of_current": 1.0, "shadow_share": 0.0, "turned_back": evidence}
            await self._agree({**document, **changed})
        self.metrics.turn_backs.labels(worse).inc()
        _log.warning("next lost its traffic: %s", said)


def first_document(prepared: Prepared, *, shadow_share: float) -> dict[str, Any]:
    """What a server agrees on before its workers start: the same model in both slots."""
    return {
        "generation": 1,
        "current": prepared.document(),
        "next": prepared.document(),
        "share_of_current": 1.0,
        "shadow_share": shadow_share,
        "turned_back": None,
    }


def _check_alike(document: dict[str, Any]) -> None:
    """Raises PolicyError if traffic would be divided among models that cannot answer the same requests."""
    if document["share_of_current"] >= 1.0 or not document["next"]:
        return
    current, following = (Prepared(**document[slot]).inputs() for slot in ("current", "next"))
    named = bool(current.names and following.names)
    one, other = (
        [(column.name if named else "", column.kind) for column in each.columns]
        for each in (current, following)
    )
    if one != other:
        raise PolicyError(
            "the model in next takes other inputs than the one in current: they cannot answer the same requests"
        )


def _headers(slot: SlotName, snapshot: Snapshot) -> Sequence[tuple[bytes, bytes]]:
    models = f"model={snapshot.name}/{snapshot.version}".encode()
    return ((b"x-mlops-slot", slot.encode()), (b"x-mlops-models", models))


def _predict_data(snapshot: Snapshot, data: Any) -> Any:
    names = snapshot.inputs.names
    if hasattr(data, "columns"):
        if names:
            lacks = [name for name in names if name not in data.columns]
            if lacks:
                raise InputError(f"the data lack the columns {', '.join(lacks)}")
            data = data[list(names)]
        matrix = data.to_numpy(dtype=snapshot.inputs.dtype)
    else:
        matrix = np.asarray(data, dtype=snapshot.inputs.dtype)
    if matrix.ndim != 2 or matrix.shape[1] != snapshot.inputs.width:
        raise InputError(f"the data have {matrix.shape[-1]} columns, the model takes {snapshot.inputs.width}")
    return predict(snapshot, snapshot.inputs.checked(matrix))


__all__ = ["ModelServer", "first_document", "frame_of"]
