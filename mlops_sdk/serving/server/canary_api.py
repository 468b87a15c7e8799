"""The canary API: what serves, what comes next, and how traffic is divided. Everything but the prediction itself."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from mlops_sdk.serving.server.model_server import ModelServer

# A documented constant: `GET /predict` shows that the wire works, whatever is loaded.
WIRE_TEST = 2


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class UpdateModel(_Strict):
    """A model of the registry: `models:/NAME/VERSION` or `models:/NAME@ALIAS`."""

    model_uri: str = Field(max_length=500, examples=["models:/iris/2"])


class CanaryProbability(_Strict):
    """The share of requests that `current` answers: 1.0 all, 0.0 none."""

    probability: float = Field(ge=0, le=1, allow_inf_nan=False, examples=[0.7])


class ShadowShare(_Strict):
    """The share of current's requests that `next` sees too, without answering them."""

    share: float = Field(ge=0, le=1, allow_inf_nan=False, examples=[0.1])


def canary_routes(server: "ModelServer") -> APIRouter:
    """The routes of a stand-alone server."""
    router = APIRouter(tags=["canary"])
    admin = [Depends(server.needs_token)]

    @router.get("/")
    async def status() -> dict[str, Any]:
        """Whether both slots hold a model, and the share of `current`."""
        return {
            "status": "FastAPI MLflow service running",
            "canary_probability": server.slots.share_of_current,
            **_loaded(server),
        }

    @router.get("/predict")
    async def wire_test() -> dict[str, int]:
        """A constant, to test the wire."""
        return {"y_pred": WIRE_TEST}

    @router.get("/canary")
    async def canary() -> dict[str, Any]:
        """The shares, what a comparison of the slots says now, and the last turn-back."""
        verdict = server.watch.verdict()
        return {
            "canary_probability": server.slots.share_of_current,
            "shadow_share": server.slots.shadow_share,
            "verdict": verdict.said,
            "turned_back": server.turned_back,
        }

    @router.post("/update-model", dependencies=admin)
    async def update_model(body: UpdateModel) -> dict[str, Any]:
        """Load a model into `next`."""
        await server.change_model(body.model_uri)
        return {
            "status": f"Next model updated from {body.model_uri}",
            "canary_probability": server.slots.share_of_current,
        }

    @router.post("/accept-next-model", dependencies=admin)
    async def accept_next_model() -> dict[str, Any]:
        """Let `current` be what `next` is."""
        await server.accept_next()
        said = "Next model promoted to current. Both slots now use the same model."
        return {"status": said, **_loaded(server)}

    @router.post("/set-canary-probability", dependencies=admin)
    async def set_canary_probability(body: CanaryProbability) -> dict[str, Any]:
        """Divide the traffic."""
        await server.set_shares(current=body.probability)
        return {
            "status": "Canary probability updated",
            "canary_probability": body.probability,
            "current_model_percentage": f"{body.probability * 100:.1f}%",
            "next_model_percentage": f"{(1 - body.probability) * 100:.1f}%",
        }

    @router.post("/set-shadow-share", dependencies=admin)
    async def set_shadow_share(body: ShadowShare) -> dict[str, Any]:
        """Show `next` some of current's requests, off their path."""
        await server.set_shares(shadow=body.share)
        return {"status": "Shadow share updated", "shadow_share": body.share}

    return router


def _loaded(server: "ModelServer") -> dict[str, bool]:
    slots = server.slots
    return {"current_model_loaded": slots.current is not None, "next_model_loaded": slots.next is not None}
