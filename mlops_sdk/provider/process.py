"""mlops:index:Process: one supervised program, applied and ready.

That it runs is asked at every diff, so an update after a reboot or a kill starts it without a refresh.
"""

from pathlib import Path

from mlops_sdk.errors import NotFoundError, UnreachableError
from mlops_sdk.platform.program import Program, Readiness
from mlops_sdk.provider.handler import Environment, Handler, text_of
from mlops_sdk.provider.values import Plain


class ProcessHandler(Handler):
    """Inputs: the fields of `platform.program.Program`, and `triggers`: any values whose change restarts it.

    Output: `running`. Nothing volatile (pid, uptime) is in it: the state would differ at each refresh.
    """

    type = "mlops:index:Process"
    required = ("name", "command", "directory")
    optional = (
        "envFiles",
        "environment",
        "user",
        "stopSignal",
        "stopTimeoutS",
        "readiness",
        "startTimeoutS",
        "triggers",
    )
    replace_on = ("name",)

    def identify(self, inputs: Plain) -> str:
        return str(inputs["name"])

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        del env, inputs
        return {"running": True}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        try:
            current = env.supervisor.is_current(program(inputs))
        except (NotFoundError, UnreachableError):
            current = False  # a file that the same update writes, or a supervisor that it replaces
        return None if current and outputs.get("running") else "running"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        env.supervisor.apply(program(inputs))

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        status = env.supervisor.status(str(inputs["name"]))
        return None if status is None else {"running": status.running}

    def delete(self, env: Environment, inputs: Plain) -> None:
        env.supervisor.remove(str(inputs["name"]))
        if not env.supervisor.statuses():
            env.supervisor.shutdown()


def program(inputs: Plain) -> Program:
    """The program that inputs describe. Raises InputError for a name that cannot be one."""
    readiness = inputs.get("readiness")
    optional: dict[str, object] = {
        "user": inputs.get("user"),
        "stop_signal": inputs.get("stopSignal"),
        "stop_timeout_s": inputs.get("stopTimeoutS"),
        "start_timeout_s": inputs.get("startTimeoutS"),
        "readiness": Readiness(**readiness) if readiness else None,
    }
    return Program(
        name=inputs["name"],
        command=tuple(text_of(part) for part in inputs["command"]),
        directory=Path(inputs["directory"]),
        env_files=tuple(Path(file) for file in inputs.get("envFiles") or ()),
        environment={key: text_of(value) for key, value in (inputs.get("environment") or {}).items()},
        **{key: value for key, value in optional.items() if value is not None},  # type: ignore[arg-type]
    )
