"""Is a release fit to serve: asked of its own service on its own port, never through the router.

Reads only. What it finds becomes evidence in the ledger.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.registry.compare import differences
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock, LockedModel


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, whether it holds, and what was seen."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """Every check of one release; `ok` when all of them hold."""

    release: str
    digest: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return JSON data for the ledger and for `-o json`."""
        return {
            "release": self.release,
            "digest": self.digest,
            "ok": self.ok,
            "checks": [vars(check) for check in self.checks],
        }


def service_url(binding: Binding) -> str:
    """Return the address of the release's own service."""
    return f"http://127.0.0.1:{binding.service_port}"


def verify(lock: Lock, binding: Binding, *, timeout_s: float) -> Verification:
    """Wait until the service says it is ready, then check what it runs against the lock.

    Raises UnreachableError when it does not answer at all within `timeout_s`.
    """
    answer = _ready(service_url(binding), timeout_s=timeout_s)
    seen = answer.json()
    checks = [
        Check("ready", answer.is_success and seen.get("ready") is True, f"HTTP {answer.status_code}"),
        Check("digest", seen.get("digest") == lock.digest, str(seen.get("digest"))[:19]),
    ]
    models = seen.get("models", {})
    for key, model in lock.models.items():
        checks.extend(_model_checks(key, model, models.get(key, {})))
    return Verification(lock.release, lock.digest, tuple(checks))


def runs(binding: Binding) -> bool:
    """Return whether the binding's service answers now, is ready, and runs the binding's digest."""
    try:
        answer = httpx.get(f"{service_url(binding)}/readyz", timeout=2.0)
        return answer.is_success and answer.json().get("digest") == binding.digest
    except (httpx.HTTPError, ValueError):
        return False


def _model_checks(key: str, model: LockedModel, seen: dict[str, Any]) -> list[Check]:
    checks = [
        Check(f"model {key}: artifact", seen.get("digest") == model.digest, str(seen.get("digest"))[:19])
    ]
    if model.smoke is not None:
        different = differences(model.smoke.output, seen.get("smoke"))
        said = different[0] if different else "as recorded in the lock"
        checks.append(Check(f"model {key}: smoke prediction", not different, said))
    return checks


def _ready(url: str, *, timeout_s: float) -> httpx.Response:
    """Return the answer of /readyz: the first that is ready, or the last one before time ran out."""
    last: httpx.Response | None = None
    try:
        for attempt in stamina.retry_context(
            on=(httpx.HTTPError, _NotReadyError),
            timeout=timeout_s,
            attempts=None,
            wait_initial=0.1,
            wait_max=0.5,
        ):
            with attempt:
                last = httpx.get(f"{url}/readyz", timeout=min(timeout_s, 10.0))
                if not last.is_success:
                    raise _NotReadyError(f"HTTP {last.status_code}")
    except (httpx.HTTPError, _NotReadyError) as error:
        if last is None:
            raise UnreachableError(
                f"the service did not answer within {timeout_s:.0f} s ({type(error).__name__})",
                where=url,
                remedy="its log is in the environment's logs folder",
            ) from error
    assert last is not None
    return last


class _NotReadyError(MlopsError):
    """The service answers, and says that it is not ready yet."""
