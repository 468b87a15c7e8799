"""Which release a person means: a tag, a digest or at least its first 8 digits, or an address. It only reads."""

from datetime import UTC, datetime

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger.store import Ledger

_LEAST_DIGITS = 8  # of a digest, as a release's role and pg_schema show them


def named_digest(ledger: Ledger, name: str) -> str:
    """Return the digest of the release that `name` means, retired ones too. Raises NotFoundError."""
    bindings = ledger.bindings(retired=True)
    for binding in bindings:
        if name in (binding.release, binding.digest):
            return binding.digest
    begun = [b.digest for b in bindings if b.digest.removeprefix("sha256:").startswith(name)]
    # A few characters, or none, could be the beginning of any.
    if len(name) >= _LEAST_DIGITS and len(begun) == 1:
        return begun[0]
    try:
        parsed = addresses.parse(name, now=datetime.now(UTC))
    except InputError as error:
        raise _unknown(ledger, name) from error
    if parsed.environment != ledger.environment:  # every name could be that of an environment
        raise _unknown(ledger, name)
    entry = ledger.resolve(parsed)
    if entry is None or entry.digest is None:
        raise NotFoundError(f"nothing was live at {name}", where=ledger.environment)
    return entry.digest


def _unknown(ledger: Ledger, name: str) -> NotFoundError:
    return NotFoundError(
        f"{ledger.environment} has no release {name!r}",
        remedy=f"`mlops history {ledger.environment}` shows what was live",
    )
