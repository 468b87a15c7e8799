"""The plan of a deploy and of a rollback: which steps, in which order, and when none."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlops_sdk.errors import FrozenError, InputError, MovedError, PolicyError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.gates import ShiftSpec, StepEnd
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.rollout.plan.explain import plan_data, plan_lines
from mlops_sdk.rollout.plan.facts import Commit, Facts, LastBuild, Metric, ResourceChange
from mlops_sdk.rollout.plan.markdown import plan_markdown
from mlops_sdk.rollout.plan.plan import Intent, Observed, Plan, SealedTable, build_plan, retired
from mlops_sdk.rollout.plan.saved_plan import SavedPlan, load_plan, require_unmoved, save_plan
from mlops_sdk.rollout.plan.steps import (
    Bind,
    Build,
    Fork,
    Handover,
    PrepareCode,
    Record,
    Retire,
    Reuse,
    Share,
    Shift,
    Up,
    Verify,
)
from mlops_sdk.state.known import KnownTables

SHA = "sha256:" + "0" * 64


def column(name: str) -> dict[str, object]:
    return {"name": name, "type": "bigint"}


def lock_of(release: str, *, reranker: int = 1) -> Lock:
    tables = {
        "content": {
            "name": "content",
            "kind": "derived",
            "columns": [column("film_id")],
            "primary_key": ["film_id"],
            "builder": {"entry": "p.steps:build", "digest": SHA},
        },
        "users": {
            "name": "users",
            "kind": "forked",
            "columns": [column("user_id")],
            "primary_key": ["user_id"],
            "policy": "carry",
        },
        "interactions": {
            "name": "interactions",
            "kind": "shared",
            "columns": [column("id")],
            "primary_key": ["id"],
        },
    }
    return Lock.from_document(
        {
            "schema": 1,
            "release": release,
            "app": "recommender",
            "code": {"ref": "HEAD", "commit": "a" * 40, "tree": "b" * 40, "dependencies": SHA},
            "models": {"reranker": {"name": "movie-reranker", "version": reranker, "digest": SHA}},
            "state": {"entry": "p.tables:STATE", "tables": tables},
            "service": "p.service:create_app",
            "manifest": SHA,
        }
    )


def binding_of(lock: Lock, seq: int) -> Binding:
    return Binding(
        environment="local",
        digest=lock.digest,
        release=lock.release,
        seq=seq,
        pg_schema=f"rel_recommender_{seq:06}_00000000",
        role=f"rel_recommender_{seq:06}_00000000",
        service_port=40000 + seq,
        fingerprints={"content": "f" * 26},
    )


NOTHING = Observed(
    environment="local",
    head=0,
    hold="",
    live=None,
    live_lock=None,
    kept=(),
    running=frozenset(),
    recorded=True,
    routed=True,
    sealed={},
    fingerprints={"content": "f" * 26},
)
FIRST = lock_of("v0.0.1")
SECOND = lock_of("v0.0.2", reranker=2)
FIRST_IS_LIVE = replace(
    NOTHING,
    head=3,
    live=binding_of(FIRST, 1),
    live_lock=FIRST,
    kept=(binding_of(FIRST, 1),),
    running=frozenset({FIRST.digest}),
    sealed={"f" * 26: SealedTable(rows=3201, built_for="v0.0.1")},
)
SECOND_IS_LIVE = replace(
    FIRST_IS_LIVE,
    live=binding_of(SECOND, 2),
    live_lock=SECOND,
    kept=(binding_of(FIRST, 1), binding_of(SECOND, 2)),
    running=frozenset({FIRST.digest, SECOND.digest}),
)


def test_a_first_deploy_builds_what_is_derived_and_forks_from_nothing() -> None:
    plan = build_plan(FIRST, NOTHING, keep=3)

    assert plan.steps == (
        PrepareCode("a" * 40, SHA),
        Bind("v0.0.1", FIRST.digest),
        Build("content", "f" * 26),
        Share("interactions"),
        Fork("users", "carry", ""),
        Up("v0.0.1", FIRST.digest),
        Verify("v0.0.1", FIRST.digest),
        Handover("v0.0.1", FIRST.digest, "", ""),
        Record("v0.0.1", FIRST.digest),
    )


def test_a_second_release_with_the_same_fingerprint_reuses_the_table_and_the_plan_says_so() -> None:
    plan = build_plan(SECOND, FIRST_IS_LIVE, keep=3)

    assert Reuse("content", "f" * 26, 3201, "v0.0.1") in plan.steps
    assert not any(isinstance(step, Build) for step in plan.steps)
    assert Fork("users", "carry", "v0.0.1") in plan.steps
    assert any("reuse table content (built for v0.0.1, 3,201 rows)" in line for line in plan_lines(plan))


def test_deploying_what_is_live_and_recorded_is_no_change() -> None:
    plan = build_plan(FIRST, FIRST_IS_LIVE, keep=3)

    assert plan.steps == ()
    assert plan_lines(plan) == ["v0.0.1 is live in local: no change"]


def test_a_live_release_whose_service_is_gone_is_brought_up_without_a_handover() -> None:
    plan = build_plan(FIRST, replace(FIRST_IS_LIVE, running=frozenset()), keep=3)

    assert Up("v0.0.1", FIRST.digest) in plan.steps
    assert not any(isinstance(step, Handover) for step in plan.steps)


def test_a_live_release_that_stack_config_does_not_know_yet_is_only_recorded() -> None:
    plan = build_plan(FIRST, replace(FIRST_IS_LIVE, recorded=False), keep=3)

    assert plan.steps == (Verify("v0.0.1", FIRST.digest), Record("v0.0.1", FIRST.digest))


def test_a_live_release_that_the_router_does_not_follow_yet_is_handed_over_again() -> None:
    plan = build_plan(FIRST, replace(FIRST_IS_LIVE, routed=False, recorded=False), keep=3)

    assert Handover("v0.0.1", FIRST.digest, "", "") in plan.steps


def test_a_kept_release_is_deployed_again_without_its_tables_but_not_without_a_look_at_the_platform() -> None:
    seen = replace(SECOND_IS_LIVE, live=binding_of(FIRST, 1), live_lock=FIRST)
    plan = build_plan(SECOND, seen, keep=3)

    assert [type(step) for step in plan.steps] == [Up, Verify, Handover, Record]


def test_a_rollback_to_a_warm_release_verifies_and_hands_over_and_names_what_it_leaves() -> None:
    plan = build_plan(FIRST, SECOND_IS_LIVE, keep=3, intent=Intent.ROLLBACK)

    assert plan.steps == (
        Verify("v0.0.1", FIRST.digest),
        Handover("v0.0.1", FIRST.digest, "v0.0.2", SECOND.digest),
        Record("v0.0.1", FIRST.digest),
    )


def test_a_rollback_to_a_release_whose_service_died_brings_it_up_first() -> None:
    seen = replace(SECOND_IS_LIVE, running=frozenset({SECOND.digest}))
    plan = build_plan(FIRST, seen, keep=3, intent=Intent.ROLLBACK)

    kinds = [type(step) for step in plan.steps]
    assert kinds.index(Up) < kinds.index(Verify) < kinds.index(Handover)


def test_a_hold_stops_a_deploy_but_neither_a_rollback_nor_the_repair_of_what_is_live() -> None:
    held = replace(FIRST_IS_LIVE, hold="rolled back: bad answers")

    with pytest.raises(FrozenError, match=r"bad answers.*\n.*mlops resume local"):
        build_plan(SECOND, held, keep=3)
    assert build_plan(FIRST, replace(held, running=frozenset()), keep=3).steps
    assert build_plan(FIRST, replace(SECOND_IS_LIVE, hold="x"), keep=3, intent=Intent.ROLLBACK).steps


def test_a_blocked_release_becomes_live_by_no_way_but_what_is_live_is_still_mended() -> None:
    blocked = replace(SECOND_IS_LIVE, block="leaks memory")

    for intent in Intent:
        with pytest.raises(
            PolicyError, match=r"v0\.0\.1 is blocked here: leaks memory\n.*mlops unblock v0\.0\.1"
        ):
            build_plan(FIRST, blocked, keep=3, intent=intent, override_hold=True)
    assert build_plan(SECOND, replace(blocked, running=frozenset()), keep=3).steps


def test_a_promotion_takes_the_way_of_a_deploy_and_respects_a_hold() -> None:
    deploy = build_plan(SECOND, FIRST_IS_LIVE, keep=3)
    promotion = build_plan(SECOND, FIRST_IS_LIVE, keep=3, intent=Intent.PROMOTE)

    assert promotion.steps == deploy.steps
    assert plan_lines(promotion)[0] == "promote v0.0.2 to local (live: v0.0.1)"
    with pytest.raises(FrozenError):
        build_plan(SECOND, replace(FIRST_IS_LIVE, hold="x"), keep=3, intent=Intent.PROMOTE)
    assert build_plan(FIRST, FIRST_IS_LIVE, keep=3, intent=Intent.PROMOTE).steps == ()


def test_a_tag_that_is_bound_with_another_content_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"v0\.0\.1 is already bound here with another content"):
        build_plan(lock_of("v0.0.1", reranker=7), FIRST_IS_LIVE, keep=3)


def test_the_oldest_releases_fall_out_but_never_the_live_one_or_the_target() -> None:
    locks = [lock_of(f"v0.0.{n}", reranker=n) for n in range(1, 6)]
    kept = [binding_of(lock, n) for n, lock in enumerate(locks, 1)]

    gone = [step.release for step in retired(kept, locks[4].digest, locks[0].digest, 3)]

    assert gone == ["v0.0.2", "v0.0.3"]
    assert [type(step) for step in retired(kept[:3], locks[2].digest, locks[1].digest, 3)] == []
    assert all(isinstance(step, Retire) for step in retired(kept, locks[4].digest, locks[3].digest, 2))


def test_a_plan_as_data_holds_the_same_steps_as_the_plan_in_words() -> None:
    plan = build_plan(SECOND, FIRST_IS_LIVE, keep=3)
    data = plan_data(plan)

    assert [step["text"] for step in data["steps"]] == [
        line.split(". ", 1)[1] for line in plan_lines(plan) if ". " in line
    ]


def test_a_plan_in_words_says_what_differs_from_the_live_release_before_the_steps() -> None:
    lines = plan_lines(build_plan(SECOND, FIRST_IS_LIVE, keep=3))

    assert lines[0] == "deploy v0.0.2 to local (live: v0.0.1)"
    assert lines[1] == "  ~ model reranker: movie-reranker 1 -> 2"
    assert lines[2].startswith("   1. ") or lines[2].startswith("  1. ")


def with_type(spec: TableSpec, type_: str) -> TableSpec:
    return spec.model_copy(
        update={"columns": tuple(c.model_copy(update={"type": type_}) for c in spec.columns)}
    )


def test_a_table_that_does_not_fit_those_that_stand_is_refused_before_anything_is_done() -> None:
    known = KnownTables(
        shared={"interactions": with_type(FIRST.tables["interactions"], "text")},
        forks={"v0.0.1": {"users": with_type(FIRST.tables["users"], "text")}},
    )
    with pytest.raises(PolicyError) as refused:
        build_plan(SECOND, replace(FIRST_IS_LIVE, known=known), keep=3)
    assert 'it would need: ALTER TABLE "shared"."interactions" ALTER COLUMN "id" TYPE bigint' in str(
        refused.value
    )
    assert "users (forked, also by v0.0.1): user_id has type text in one and bigint" in str(refused.value)


def test_a_kept_release_is_live_again_whatever_its_tables_were() -> None:
    known = KnownTables(shared={"interactions": with_type(FIRST.tables["interactions"], "text")})
    assert build_plan(FIRST, replace(SECOND_IS_LIVE, known=known), keep=3, intent=Intent.ROLLBACK).steps


# --- steps of traffic


def shifting(lock: Lock, *steps: int) -> Lock:
    return lock.model_copy(update={"shift": ShiftSpec(steps=steps, each=StepEnd(seconds=60))})


def shares(lock: Lock, observed: Observed, intent: Intent = Intent.DEPLOY) -> list[tuple[int, int]]:
    plan = build_plan(lock, observed, keep=3, intent=intent)
    return [(step.percent, step.share) for step in plan.steps if isinstance(step, Shift)]


def test_declared_steps_come_between_verification_and_handover() -> None:
    plan = build_plan(shifting(SECOND, 5, 50, 100), FIRST_IS_LIVE, keep=3)

    kinds = [type(step) for step in plan.steps]
    assert kinds[kinds.index(Verify) :] == [Verify, Shift, Shift, Shift, Handover, Record]
    assert shares(shifting(SECOND, 1, 50, 100), FIRST_IS_LIVE) == [(1, 3), (50, 128), (100, 256)]
    assert any("shift 5 % of traffic to v0.0.2 for 60 s" in line for line in plan_lines(plan))


def test_nothing_is_shifted_at_first_nor_by_a_rollback_nor_to_what_is_live() -> None:
    first = shifting(FIRST, 5, 50)
    assert shares(first, NOTHING) == []
    kept = (binding_of(first, 1), binding_of(SECOND, 2))
    left = replace(SECOND_IS_LIVE, kept=kept, running=frozenset({first.digest, SECOND.digest}))
    assert shares(first, left, Intent.ROLLBACK) == []
    assert shares(first, left) == [(5, 13), (50, 128)]
    live = replace(left, live=binding_of(first, 1), live_lock=first, running=frozenset())
    assert shares(first, live) == []


def test_a_deploy_that_was_cut_off_goes_on_with_the_step_that_it_had_reached() -> None:
    lock = shifting(SECOND, 5, 50, 100)
    assert shares(lock, replace(FIRST_IS_LIVE, shifted=lock.digest, share=128)) == [(50, 128), (100, 256)]
    other = replace(FIRST_IS_LIVE, shifted="sha256:" + "1" * 64, share=128)
    assert [percent for percent, _ in shares(lock, other)] == [5, 50, 100]


# --- what a plan shows

FACTS = Facts(
    commits=(
        Commit("c" * 40, "Rank by | price @ann <b>", added=True),
        Commit("d" * 40, "A commit that is left", added=False),
    ),
    metrics=(Metric("reranker", "ndcg", 0.4, 0.415), Metric("reranker", "loss", None, 2.0)),
    last_builds={"content": LastBuild(3725.0, 3201)},
    infrastructure=(
        ResourceChange("create", "mlops:index:Process", "service-1", (), own=True),
        ResourceChange("update", "mlops:index:Process", "mlflow", ("command",), own=False),
    ),
    unknown=("times: Postgres rests",),
)


def shown() -> Plan:
    observed = replace(FIRST_IS_LIVE, sealed={})
    plan = build_plan(lock_of("v0.0.2", reranker=2), observed, keep=3)
    return replace(plan, facts=FACTS)


def test_people_see_commits_metrics_times_and_changes_of_the_platform_marked() -> None:
    lines = "\n".join(plan_lines(shown()))

    assert "+ commit cccccccccccc Rank by | price" in lines
    assert "- commit dddddddddddd A commit that is left" in lines
    assert "ndcg 0.4 -> 0.415 (+0.015)" in lines
    assert "loss none -> 2" in lines
    assert "build table content (the last time 1 h 2 min, 3,201 rows)" in lines
    assert "+ create Process service-1" in lines
    assert "! platform: update Process mlflow (command)" in lines
    assert "? times: Postgres rests" in lines


def test_markdown_has_the_same_and_text_of_others_breaks_nothing_in_it() -> None:
    text = plan_markdown(shown())

    assert text.startswith("### deploy v0.0.2 to local (live: v0.0.1)\n")
    assert "Rank by \\| price @\u200bann &lt;b>" in text
    assert "| reranker | movie-reranker 1 -> 2 | ndcg 0.4 -> 0.415 (+0.015)<br>loss none -> 2 |" in text
    assert "1 changes of the platform" in text
    row = next(line for line in text.splitlines() if line.startswith("| reranker |"))
    assert row.count(" | ") == 3


def test_markdown_of_a_huge_plan_fits_a_comment() -> None:
    many = tuple(Commit("c" * 40, "x" * 200, added=True) for _ in range(5000))
    changes = tuple(ResourceChange("create", "a:b:C", "n" * 100, (), own=True) for _ in range(5000))
    text = plan_markdown(replace(shown(), facts=replace(FACTS, commits=many, infrastructure=changes)))

    assert len(text) < 20_000
    assert "and 4,980 more commits" in text


def test_markdown_of_no_change_says_so() -> None:
    assert plan_markdown(build_plan(FIRST, FIRST_IS_LIVE, keep=3)).startswith(
        "### v0.0.1 is live in local: no change\n"
    )


# --- saved plans


def saved(folder: Path, plan: Plan) -> SavedPlan:
    manifest = folder / "stacks" / "releases" / "v0.0.2.yaml"
    save_plan(folder / "plan.json", plan, manifest, folder)
    return load_plan(folder / "plan.json")


def test_a_saved_plan_holds_as_long_as_it_would_do_the_same(tmp_path: Path) -> None:
    found = saved(tmp_path, shown())

    assert (found.environment, found.manifest) == ("local", "stacks/releases/v0.0.2.yaml")
    # Another time of the last build, or newer entries that changed nothing, do not matter.
    again = replace(shown(), facts=Facts(), head=9)
    require_unmoved(found, again, [])


def test_a_saved_plan_names_what_moved(tmp_path: Path) -> None:
    found = saved(tmp_path, build_plan(SECOND, FIRST_IS_LIVE, keep=3))
    third = lock_of("v0.0.3")
    seen = replace(FIRST_IS_LIVE, live=binding_of(third, 3), live_lock=third, sealed={})

    with pytest.raises(MovedError) as caught:
        require_unmoved(found, build_plan(SECOND, seen, keep=3), [])
    assert caught.value.exit_code == 25
    assert "live was v0.0.1, it is v0.0.3" in caught.value.what
    assert "a step that was not planned: build table content" in caught.value.what
    assert "a step that was not planned: hand over to v0.0.2 from v0.0.3" in caught.value.what


def test_a_saved_plan_whose_first_try_was_cut_off_still_holds_and_so_does_one_that_was_done(
    tmp_path: Path,
) -> None:
    found = saved(tmp_path, build_plan(SECOND, replace(FIRST_IS_LIVE, sealed={}), keep=3))

    require_unmoved(found, build_plan(SECOND, FIRST_IS_LIVE, keep=3), [])  # the table was built meanwhile
    warm = replace(SECOND_IS_LIVE, live=FIRST_IS_LIVE.live, live_lock=FIRST)
    require_unmoved(found, build_plan(SECOND, warm, keep=3), [])  # its service stands
    require_unmoved(found, build_plan(SECOND, SECOND_IS_LIVE, keep=3), [])  # it is live


def test_a_release_that_was_locked_anew_is_not_what_was_planned(tmp_path: Path) -> None:
    found = saved(tmp_path, build_plan(lock_of("v0.0.2", reranker=7), FIRST_IS_LIVE, keep=3))

    with pytest.raises(MovedError, match="the release's lock was"):
        require_unmoved(found, build_plan(lock_of("v0.0.2", reranker=8), FIRST_IS_LIVE, keep=3), [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest": "a", "plan": {}}', '{"manifest": 1}'])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match="not a saved plan"):
        load_plan(tmp_path / "p.json")
