"""What a change of releases touches: the releases' own resources, and `Live`. Over generated locks."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_sdk.release.digest import short
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.stack.config import ReleaseSection
from tests.support.cluster_stacks import declared
from tests.support.declared import Declared, own_event_loop
from tests.support.sections import a_section

few = settings(max_examples=5, suppress_health_check=list(HealthCheck))
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
words = st.text("abcdefghij", min_size=1, max_size=8)


@st.composite
def sections(draw: st.DrawFn, seq: int) -> ReleaseSection:
    """The section that a lock and its binding would give."""
    models = draw(st.dictionaries(words, digests, max_size=3))
    digest = draw(digests)
    return a_section(
        seq,
        digest=digest,
        commit=draw(st.text("0123456789abcdef", min_size=40, max_size=40)),
        pg_schema=f"rel_app_{seq:06d}_{digest[7:15]}",
        role=f"rel_app_{seq:06d}_{digest[7:15]}",
        service=draw(st.sampled_from(["app.service:create_app", None])),
        jobs=draw(st.sampled_from(["app.job:JOBS", None])),
        flows=draw(st.sampled_from([{}, {"daily": FlowSpec(run="app/flow.py:daily")}])),
        images=draw(st.dictionaries(st.sampled_from(["job", "service"]), digests)),
        models={key: {"name": key, "version": 1, "digest": one} for key, one in models.items()},
        parameters=draw(st.dictionaries(words, st.integers() | words, max_size=3)),
    )


def changed(before: Declared, after: Declared) -> set[str]:
    """The resources that a preview would name: made, removed or with other inputs."""

    def inputs(made: Declared) -> dict[str, str]:
        return {
            f"{made.types[name]} {name}": json.dumps(value, sort_keys=True)
            for name, value in made.resources.items()
        }

    old, new = inputs(before), inputs(after)
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}


def program(stack: str, *releases: ReleaseSection, live: int) -> Declared:
    """What the program declares for these releases."""
    with own_event_loop():
        return declared(stack, *releases, live=live)


def strangers(names: set[str], *releases: ReleaseSection) -> list[str]:
    """The names that are of none of these releases; `Live` is nobody's."""
    own = tuple(short(one.digest) for one in releases)
    return [name for name in names if not name.endswith(" live") and not any(one in name for one in own)]


@few
@given(old=sections(1), new=sections(2), stack=st.sampled_from(["stg", "prd"]))
def test_a_release_that_comes_and_goes_live_touches_nothing_but_its_own(
    old: ReleaseSection, new: ReleaseSection, stack: str
) -> None:
    if short(old.digest) == short(new.digest):
        return
    alone = program(stack, old, live=1)
    both = program(stack, old, new, live=1)
    shifted = program(stack, old, new, live=2)
    left = program(stack, new, live=2)
    assert changed(alone, both)
    assert not strangers(changed(alone, both), new)
    assert {name.rpartition(" ")[2] for name in changed(both, shifted)} == {"live"}
    assert not strangers(changed(shifted, left), old)


def test_every_change_of_a_release_s_own_section_stays_with_it() -> None:
    stays, moves = a_section(1), a_section(2)
    changes: list[dict[str, Any]] = [
        {"parameters": {"candidates": 7}},
        {"models": {}},
        {"service": None},
        {"service": "app.other:create_app"},
        {"state": None},
        {"jobs": "app.job:JOBS"},
        {"flows": {"daily": FlowSpec(run="app/flow.py:daily")}},
        {"release": "v0.0.9"},
        {"commit": "d" * 40},
    ]
    before = program("stg", stays, moves, live=1)
    for change in changes:
        after = program("stg", stays, a_section(2, **change), live=1)
        assert not strangers(changed(before, after), moves), change
