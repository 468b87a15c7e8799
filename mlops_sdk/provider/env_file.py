"""mlops:index:EnvFile: one `.env` file of the environment, exactly with the given values, mode 0600."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.provider.handler import Environment, Handler, text_of
from mlops_sdk.provider.values import UNKNOWN, Plain, is_unknown
from mlops_sdk.runtime import env_file


class EnvFileHandler(Handler):
    """Inputs: `file` (name without `.env`), `values`. Outputs: `path`, and `digest` of the content.

    The digest covers secrets too, but says nothing of them: the master key has 256 bits.
    """

    type = "mlops:index:EnvFile"
    required = ("file", "values")
    replace_on = ("file",)

    def check(self, env: Environment, inputs: Plain) -> Sequence[tuple[str, str]]:
        del env
        if is_unknown(inputs):
            return ()
        try:
            _text(inputs)
        except InputError as error:
            return [("values", str(error))]
        return ()

    def identify(self, inputs: Plain) -> str:
        return str(inputs["file"])

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        path = str(_path(env, inputs))
        if is_unknown(inputs["values"]):
            return {"path": path, "digest": UNKNOWN}
        return {"path": path, "digest": _digest(_text(inputs).encode())}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        return None if self.read(env, inputs) == self.outputs(env, inputs) == _own(outputs) else "digest"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        env_file.write(_path(env, inputs), _values(inputs))

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        path = _path(env, inputs)
        try:
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreachableError(f"cannot be read: {error.strerror}", where=str(path)) from error
        digest = _digest(content)
        return {"path": str(path), "digest": digest if mode == 0o600 else f"{digest} (mode {mode:o})"}

    def delete(self, env: Environment, inputs: Plain) -> None:
        _path(env, inputs).unlink(missing_ok=True)


def _path(env: Environment, inputs: Plain) -> Path:
    return env.folder / "env" / f"{inputs['file']}.env"


def _values(inputs: Plain) -> dict[str, str]:
    return {key: text_of(value) for key, value in inputs["values"].items()}


def _text(inputs: Plain) -> str:
    return env_file.format(_values(inputs))


def _own(outputs: Plain) -> Plain:
    return {key: outputs.get(key) for key in ("path", "digest")}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
