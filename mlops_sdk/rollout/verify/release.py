"""All gates of a release that need no traffic of people, asked one after the other."""

import time
from collections.abc import Callable

from pydantic import SecretStr

from mlops_sdk.release.binding import Binding
from mlops_sdk.release.digest import short
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.lock import release_code
from mlops_sdk.rollout.verify.checks import Check, Verification, lag_check, service_checks
from mlops_sdk.rollout.verify.command import command_check
from mlops_sdk.rollout.verify.service import readiness
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings
from mlops_sdk.state.lag import waiting_keys

_CATCH_UP_S = 30.0
_LOOK_AGAIN_S = 0.1


def verify(session: Session, lock: Lock, binding: Binding, *, left_s: Callable[[], float]) -> Verification:
    """Wait until the release's service says it is ready, then check it against the lock and its declared gates.

    A release without a service is its tables and jobs: nobody is waited for, the other gates hold as always. `left_s`
    gives the seconds that are left, or raises. Raises UnreachableError when the service does not answer.
    """
    gates = lock.verify
    if lock.service is None:
        checks = [Check("service", True, "the release has none")]
    else:
        status, seen = readiness(binding, timeout_s=min(gates.readiness.timeout_s, left_s()))
        checks = service_checks(lock, status, seen)
    if gates.catch_up is not None:
        checks.append(_catch_up(session, binding, gates.catch_up.keys_at_most, left_s))
    checks += _commands(session, lock, binding, left_s) if gates.commands else []
    return Verification(lock.release, lock.digest, tuple(checks))


def _catch_up(session: Session, binding: Binding, at_most: int, left_s: Callable[[], float]) -> Check:
    """Followers are drained all the time: what a burst of writes left is waited for."""
    deadline = time.monotonic() + min(_CATCH_UP_S, left_s())
    with session.ledger.connect() as conn:
        while (waiting := waiting_keys(conn, session.environment, binding.digest)) > at_most:
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_AGAIN_S)
    return lag_check(waiting, at_most)


def _commands(session: Session, lock: Lock, binding: Binding, left_s: Callable[[], float]) -> list[Check]:
    code = release_code(session.project, lock.code.commit, session.report, data=lock.data)
    variables = _variables(session, lock, binding)
    secrets = [value for name, value in variables.items() if name in BY_NAME and BY_NAME[name].secret]
    found = []
    for name, gate in sorted(lock.verify.commands.items()):
        left_s()
        found.append(command_check(name, gate, code, variables, secrets=secrets))
    return found


def _variables(session: Session, lock: Lock, binding: Binding) -> dict[str, str]:
    """Those of the release's service. On a cluster no file here has them: with the addresses of the forwards then."""
    if not session.reach:
        layers = ("environment", f"release-{short(lock.digest)}")
        # Of the operator's shell nothing may win over the files here: the command is the release's.
        return env_file.load_layers(session.folder, *layers, environ={})
    settings = ServiceSettings(
        **dict(session.settings),
        release=lock.release,
        release_digest=lock.digest,
        commit=lock.code.commit,
        database_user=binding.role,
        database_password=derive(session.operator.master_key, binding.role),
        pg_schema=binding.pg_schema,
        state=lock.state.entry if lock.state else None,
        models={
            key: ModelPin(name=model.name, version=model.version, digest=model.digest)
            for key, model in lock.models.items()
        },
        parameters=dict(lock.parameters),
        service=lock.service,
        jobs=lock.jobs,
        service_port=binding.service_port,
    )
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.variables().items()
    }
