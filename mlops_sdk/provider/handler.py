"""What a resource type has to say for itself, and the environment that it says it about.

Must not know the engine's protocol: `server` does.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from mlops_sdk.platform.reach import Reach
    from mlops_sdk.platform.supervisor import Supervisor
    from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """One environment of the project, as the provider sees it. Reads its files when first asked.

    `leaving` is set once `Live`, which depends on all else, was deleted: the whole environment is destroyed.
    """

    name: str
    root: Path = PROJECT_ROOT
    leaving: threading.Event = field(default_factory=threading.Event, compare=False)

    @cached_property
    def folder(self) -> Path:
        return self.root / ".mlops" / self.name

    @cached_property
    def reach(self) -> "Reach | None":
        """The cluster that the environment is on, open until this process ends.

        None on the local kind, and before there is anything in the cluster that could be asked. Raises
        UnreachableError, AuthError or InputError as `platform.reach.reach`.
        """
        from mlops_sdk.provider.clusters import open_reach

        return open_reach(self)

    @cached_property
    def supervisor(self) -> "Supervisor":
        from mlops_sdk.platform.supervisor import Supervisor

        return Supervisor(self.folder)

    def settings(self) -> "EnvironmentSettings":
        """The environment layer. Raises NotFoundError or InputError as `Settings.load`."""
        from mlops_sdk.runtime.settings import EnvironmentSettings

        return EnvironmentSettings.load(self.folder, "environment", environ={})

    def operator(self) -> "OperatorSettings":
        """The operator layer. Raises NotFoundError or InputError as `Settings.load`."""
        from mlops_sdk.runtime.settings import OperatorSettings

        return OperatorSettings.load(self.folder, "operator", environ={})


class Handler:
    """One resource type. Inputs and outputs are plain values; every method may block.

    A create of what is there already adopts it, an update of what is right already changes nothing: an engine
    may be killed between any two steps. Methods raise MlopsError.
    """

    type: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    replace_on: ClassVar[tuple[str, ...]] = ()
    secret_outputs: ClassVar[tuple[str, ...]] = ()

    def check(self, env: Environment, inputs: Plain) -> Sequence[tuple[str, str]]:
        """Faults of the inputs as (property, reason). Unknown values are the string `values.UNKNOWN`."""
        del env, inputs
        return ()

    def identify(self, inputs: Plain) -> str:
        """The resource's id, from its inputs alone."""
        raise NotImplementedError

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        """What the resource adds to its inputs once `apply` is done; also what preview shows."""
        del env, inputs
        return {}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        """The property that, in reality, is not as it should be; asked at every preview and update.

        Must be quick, and quiet where that cannot be known (a server that is not up yet).
        """
        del env, inputs, outputs
        return None

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        """Makes it so; `old` are the former inputs, or None at create."""
        raise NotImplementedError

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        """The outputs as they are in reality, or None when it is certain that it is gone.

        Raises UnreachableError when nobody can tell.
        """
        raise NotImplementedError

    def delete(self, env: Environment, inputs: Plain) -> None:
        """Removes it; nothing happens when it is gone already."""
        raise NotImplementedError


def text_of(value: Any) -> str:
    """A plain value as a variable's text: the wire may have made a number of it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
