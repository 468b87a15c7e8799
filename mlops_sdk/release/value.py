"""The base of everything that is written into a lock, an entry or a plan: a frozen, strict record.

It must not know any particular record.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from mlops_sdk.release.digest import canonical_json, digest_of


class Value(BaseModel):
    """A frozen record that converts to and from plain JSON without loss.

    Read one with `model_validate_json` or `from_document`: strict types accept a JSON array for a tuple
    there, and never turn `"1"` into `1`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values, fields that equal their default left out.

        Leaving defaults out keeps digests stable when a later version adds a field: its default must mean
        "as it was before", and a default never changes.
        """
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    @classmethod
    def from_document(cls, document: object) -> Self:
        """The record that `document` (plain JSON values) describes.

        Raises pydantic.ValidationError for anything else.
        """
        return cls.model_validate_json(canonical_json(document))

    def document_digest(self) -> str:
        """`sha256:` and the 64 hex digits of the canonical JSON of `document`."""
        return digest_of(self.document())
