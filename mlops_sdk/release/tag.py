"""Release tags and the schemes that give them a meaning. Pure.

deployment-manager      v0.0.N[-rcN]    a sequence of its own; the release file records the combination
models-as-dependencies  vX.Y.Z[-rcN]    a model bump is a minor bump
"""

import re
from dataclasses import dataclass
from functools import total_ordering

from mlops_sdk.errors import InputError

_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_RC = r"(?:-rc(?P<rc>[1-9][0-9]{0,8}))?"
_GRAMMARS = {
    "deployment-manager": re.compile(rf"v(?P<x>0)\.(?P<y>0)\.(?P<z>[1-9][0-9]{{0,8}}){_RC}"),
    "models-as-dependencies": re.compile(rf"v(?P<x>{_NUMBER})\.(?P<y>{_NUMBER})\.(?P<z>{_NUMBER}){_RC}"),
}
_EXAMPLES = {
    "deployment-manager": "v0.0.N or v0.0.N-rcN, such as v0.0.1",
    "models-as-dependencies": "vX.Y.Z or vX.Y.Z-rcN, such as v1.2.3",
}


@total_ordering
@dataclass(frozen=True)
class Tag:
    """A release tag. `rc` is the number of a release candidate, None for a final release.

    Tags order by code version; candidates come before the final release, by their number.
    """

    scheme: str
    major: int
    minor: int
    patch: int
    rc: int | None = None

    @property
    def order(self) -> tuple[int, int, int, int, int]:
        """The tuple that tags of one scheme are ordered by."""
        return (self.major, self.minor, self.patch, 0 if self.rc is not None else 1, self.rc or 0)

    def __lt__(self, other: "Tag") -> bool:
        return self.order < other.order

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}" + (f"-rc{self.rc}" if self.rc is not None else "")


def parse_tag(text: str, scheme: str = "deployment-manager") -> Tag:
    """The tag that `text` spells; `str` of it is `text` again. Raises InputError for anything else."""
    found = _GRAMMARS[scheme].fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} is not a tag of scheme {scheme}", remedy=f"write {tag_form(scheme)}")
    rc = found["rc"]
    return Tag(scheme, int(found["x"]), int(found["y"]), int(found["z"]), int(rc) if rc else None)


def tag_form(scheme: str) -> str:
    """How a tag of the scheme is written, with an example."""
    return _EXAMPLES[scheme]
