"""An attestation: that one environment verified one release, in a form that can be carried to another. Pure.

It is no signature: its digest finds a file that was edited, not one that was made up. That takes the ledger it
came from, whose head it holds. It must not read a ledger or a file: `rollout.attest` does.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Digest
from mlops_sdk.release.value import Value

_REMEDY = "have it made again: `mlops ledger attest ENV RELEASE --out FILE`"
SEAL = "attestation"
"""The key of the digest, which covers all the others; no other JSON of the SDK has it."""


class AttestedCheck(Value):
    """One thing that was looked at; `detail` is what was seen, empty where only the name was recorded."""

    name: str
    ok: bool
    detail: str


class Attestation(Value):
    """The release `digest` passed its checks in `environment`, by entry `entry` of its ledger, written at `at`.

    `head` is the newest entry of that ledger when this was made, N:HASH: the hash covers every entry before it.
    """

    schema_version: Literal[1] = Field(alias="schema")
    digest: Digest
    release: str
    app: str
    environment: str
    entry: int = Field(ge=1)
    at: AwareDatetime
    head: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*:sha256:[0-9a-f]{64}$")]
    checks: tuple[AttestedCheck, ...]

    def sealed(self) -> dict[str, Any]:
        """The record as JSON values, with its own digest in it."""
        return {SEAL: self.document_digest(), **self.document()}


def format_attestation(attestation: Attestation) -> str:
    """The text of an attestation's file: canonical JSON in one line. Equal attestations have equal texts."""
    return canonical_json(attestation.sealed()).decode() + "\n"


def parse_attestation(text: str, *, where: str = "") -> Attestation:
    """The attestation that a file's text holds; `where` names the file.

    Raises InputError for what is none, was edited, or is of a schema that this version does not know.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"not an attestation: {error}", where=where, remedy=_REMEDY) from error
    if not isinstance(document, dict):
        raise InputError("not an attestation: an object is wanted", where=where, remedy=_REMEDY)
    if document.get("schema") != 1:
        raise InputError(
            f"an attestation of schema {document.get('schema')}; this version reads schema 1",
            where=where,
            remedy="use the SDK that wrote it, or a later one",
        )
    stored = document.pop(SEAL, None)
    attestation = _parsed(document, where)
    if attestation.document_digest() != stored:
        raise InputError(
            f"the attestation was edited: its content has digest {attestation.document_digest()}, it says {stored}",
            where=where,
            remedy=_REMEDY,
        )
    return attestation


def _parsed(document: dict[str, Any], where: str) -> Attestation:
    try:
        return Attestation.from_document(document)
    except ValidationError as error:
        listed = "\n".join(
            f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise InputError(f"not an attestation\n{listed}", where=where, remedy=_REMEDY) from error
    except (TypeError, ValueError) as error:
        # NaN, or text that is no Unicode: json reads both, and neither has one spelling.
        raise InputError(f"not an attestation: {error}", where=where, remedy=_REMEDY) from error
