"""The process that prepares models, as the server sees it: who dies before an order is no reason to refuse it."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.serving.loading.loader import _MODULE, Loader
from mlops_sdk.serving.loading.preparing import Order
from tests.support.environment import NOBODY


def order(cache: Path) -> Order:
    """What a helper can only answer with an error, for nobody has the model; no helper is needed to see that."""
    return Order(mlflow_uri=NOBODY, cache=str(cache), name="iris", version=1, alias=None)


def test_a_helper_that_died_before_it_had_the_order_is_replaced(tmp_path: Path) -> None:
    async def ask_twice() -> None:
        loader = Loader()
        with pytest.raises(UnreachableError):
            await loader.prepare(order(tmp_path))
        [warm] = [each for each in psutil.Process().children() if _MODULE in each.cmdline()]
        os.kill(warm.pid, signal.SIGKILL)
        # Nothing ran in between that could have noticed.
        with pytest.raises(UnreachableError):
            await loader.prepare(order(tmp_path))
        await loader.close()

    asyncio.run(ask_twice())


def test_a_helper_that_dies_of_its_order_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_sdk.serving.loading.loader._MODULE", "abc")  # ends at once and says nothing

    async def ask() -> None:
        loader = Loader()
        with pytest.raises(MlopsError, match="the process that prepares models died"):
            await loader.prepare(order(tmp_path))
        await loader.close()

    asyncio.run(ask())
