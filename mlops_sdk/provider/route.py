"""mlops:index:Route: the router's static config, and the slot files that it reads at each request.

Which service is in a slot and with what share is decided by the handover: none of that is an input, an output
or a difference here.
"""

import hashlib
import json

from mlops_sdk.errors import UnreachableError
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain
from mlops_sdk.traffic.caddy import caddy_config
from mlops_sdk.traffic.router_files import CONFIG_FILE, prepare_router


class RouteHandler(Handler):
    """Input: `port`. Output: `digest` of the config.

    Deleting it removes the config and leaves the slots: a route that comes back sends requests as before.
    """

    type = "mlops:index:Route"
    required = ("port",)

    def identify(self, inputs: Plain) -> str:
        del inputs
        return "router"

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        del env
        return {"digest": _digest((json.dumps(caddy_config(int(inputs["port"])), indent=2) + "\n").encode())}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        wanted = self.outputs(env, inputs)
        return None if self.read(env, inputs) == wanted == {**wanted, **_own(outputs)} else "digest"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        prepare_router(env.folder / "router", int(inputs["port"]))

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        del inputs
        path = env.folder / "router" / CONFIG_FILE
        try:
            return {"digest": _digest(path.read_bytes())}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreachableError(f"cannot be read: {error.strerror}", where=str(path)) from error

    def delete(self, env: Environment, inputs: Plain) -> None:
        del inputs
        (env.folder / "router" / CONFIG_FILE).unlink(missing_ok=True)


def _own(outputs: Plain) -> Plain:
    return {"digest": outputs.get("digest")}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
