"""What a verification came to: checks, each with what was seen. Pure."""

from dataclasses import dataclass
from typing import Any

from mlops_sdk.registry.compare import differences
from mlops_sdk.release.lock import Lock, LockedModel


@dataclass(frozen=True)
class Check:
    """One gate: its name, whether it holds, and what was seen. `pending`: there is too little to judge by yet."""

    name: str
    ok: bool
    detail: str
    pending: bool = False

    @property
    def failed(self) -> bool:
        """Whether it was judged, and does not hold."""
        return not (self.ok or self.pending)

    @property
    def word(self) -> str:
        """`ok`, `FAIL` or `wait`, for people."""
        return "ok" if self.ok else "wait" if self.pending else "FAIL"

    def document(self) -> dict[str, Any]:
        """JSON data: see `docs/reference/output.md`, "verification"."""
        pending = {"pending": True} if self.pending else {}
        return {"name": self.name, "ok": self.ok, "detail": self.detail, **pending}


@dataclass(frozen=True)
class Verification:
    """Every check of one release. It holds when all of them do."""

    release: str
    digest: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that do not hold."""
        return tuple(check for check in self.checks if check.failed)

    @property
    def pending(self) -> tuple[Check, ...]:
        """Those that cannot be judged yet."""
        return tuple(check for check in self.checks if check.pending)

    def document(self) -> dict[str, Any]:
        """JSON data for the ledger and for `-o json`."""
        return {
            "release": self.release,
            "digest": self.digest,
            "ok": self.ok,
            "checks": [check.document() for check in self.checks],
        }


def sentence(checks: tuple[Check, ...]) -> str:
    """Several checks and what was seen, in one line."""
    return "; ".join(f"{check.name} ({check.detail})" for check in checks)


def service_checks(lock: Lock, status: int, seen: dict[str, Any]) -> list[Check]:
    """What a service says of itself at /readyz (`status` is the answer's), against its lock."""
    checks = [
        Check("ready", status == 200 and seen.get("ready") is True, f"HTTP {status}"),
        Check("digest", seen.get("digest") == lock.digest, str(seen.get("digest"))[:19]),
    ]
    models = seen.get("models", {})
    for key, model in lock.models.items():
        checks.extend(_model_checks(key, model, models.get(key, {}), lock.verify.smoke.tolerance))
    return checks


def lag_check(waiting: int, at_most: int) -> Check:
    """How many keys of the live release's writes still wait for this one."""
    return Check("catch-up", waiting <= at_most, f"{waiting:,} keys wait, {at_most:,} may")


def _model_checks(key: str, model: LockedModel, seen: dict[str, Any], tolerance: float) -> list[Check]:
    checks = [
        Check(f"model {key}: artifact", seen.get("digest") == model.digest, str(seen.get("digest"))[:19])
    ]
    if model.smoke is not None:
        different = differences(model.smoke.output, seen.get("smoke"), tolerance)
        said = different[0] if different else "as recorded in the lock"
        checks.append(Check(f"model {key}: smoke prediction", not different, said))
    return checks
