"""Events make releases, once: commands and polling against the real ledger, registry and git."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlops_sdk.errors import InputError, MovedError, NotFoundError, PolicyError
from mlops_sdk.ledger.pause import paused, scheduled
from mlops_sdk.release.next_release import DataUpdate, Event, ModelUpdate
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, SourceSpec, TableSpec
from mlops_sdk.rollout.environment.rehearsals import pause_rehearsals
from mlops_sdk.rollout.events import poll as polling
from mlops_sdk.rollout.events import react as reacting
from mlops_sdk.rollout.events.make import code_update
from tests.support.event_project import EventProject
from tests.support.locks import make_lock
from tests.support.releases import Releases

ROOT = Path(__file__).parents[2]
EMBEDDER_2 = ModelUpdate("embedder", 2)


def react(found: EventProject, event: Event, **options: Any) -> reacting.Reaction:
    return reacting.react(found.project, "local", event, **options)


def pins(found: EventProject, tag: str) -> dict[str, str]:
    lines = [line.split() for line in found.release(tag).read_text().splitlines() if "version:" in line]
    return {line[0].rstrip(":"): line[-1].rstrip("}") for line in lines}


# --- commands


def test_a_new_version_of_a_model_makes_the_next_release_file_and_an_entry(
    event_project: EventProject,
) -> None:
    event_project.register("embedder")
    made = react(event_project, EMBEDDER_2).made
    assert (made.release, made.after, made.changed) == ("v0.0.2", "v0.0.1", True)
    assert pins(event_project, "v0.0.2") == {"embedder": "2", "reranker": "1"}
    (entry,) = event_project.events()
    assert (entry.n, entry.reason, entry.details["release"]) == (made.entry, "model embedder 2", "v0.0.2")
    assert entry.details["event"] == "model-update"


def test_an_event_that_is_told_again_makes_nothing(event_project: EventProject) -> None:
    event_project.register("embedder")
    react(event_project, EMBEDDER_2)
    again = react(event_project, EMBEDDER_2).made
    assert (again.release, again.changed, again.why) == ("v0.0.2", False, "v0.0.2 pins it already")
    assert event_project.tags() == ["v0.0.1", "v0.0.2"]
    assert len(event_project.events()) == 1


def test_an_event_with_a_name_of_its_own_is_recorded_once_whatever_became_of_it(
    event_project: EventProject,
) -> None:
    first = react(event_project, ModelUpdate("embedder", 1), delivery="nightly-7").made
    again = react(event_project, ModelUpdate("embedder", 1), delivery="nightly-7").made
    assert (first.changed, again.changed) == (False, False)
    assert first.entry == again.entry is not None
    assert len(event_project.events()) == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [(ModelUpdate("ranker", 1), NotFoundError), (ModelUpdate("embedder", 99), NotFoundError)],
)
def test_an_event_of_what_is_not_there_changes_nothing(
    event_project: EventProject, event: Event, error: type[Exception]
) -> None:
    with pytest.raises(error):
        react(event_project, event)
    assert event_project.tags() == ["v0.0.1"]
    assert event_project.events() == []


def test_other_code_makes_a_release_of_its_commit_but_release_files_are_no_code(
    event_project: EventProject,
) -> None:
    found = event_project
    (found.root / "stacks" / "note").write_text("a release file, say\n")
    found.git("add", ".")
    found.git("commit", "--quiet", "-m", "No code")
    same = react(found, code_update(found.project, "HEAD")).made
    assert (same.changed, "only stacks/ was changed" in same.why) == (False, True)
    (found.root / "code.py").write_text("VERSION = 2\n")
    found.git("commit", "--quiet", "-am", "Other code")
    made = react(found, code_update(found.project, "HEAD")).made
    assert made.release == "v0.0.2"
    assert found.git("rev-parse", "HEAD") in found.release("v0.0.2").read_text()
    with pytest.raises(PolicyError, match="older code"):
        react(found, code_update(found.project, "v1.0.0"))


def test_only_the_release_file_is_committed_and_what_was_staged_stays_staged(
    event_project: EventProject,
) -> None:
    found = event_project
    found.register("embedder")
    (found.root / "code.py").write_text("VERSION = 3\n")
    found.git("add", "code.py")
    done = react(found, EMBEDDER_2, commit=True)
    assert done.commit == found.git("rev-parse", "HEAD")
    assert found.git("show", "--name-only", "--format=", "HEAD") == "stacks/releases/v0.0.2.yaml"
    assert found.git("log", "-1", "--format=%s") == "Release v0.0.2: model embedder 2, after v0.0.1"
    assert found.git("diff", "--cached", "--name-only") == "code.py"
    assert react(found, EMBEDDER_2, commit=True).commit is None


def test_without_a_name_to_commit_in_nothing_is_made(
    event_project: EventProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = event_project
    found.register("embedder")
    monkeypatch.setenv("HOME", str(tmp_path))
    found.git("config", "user.useConfigOnly", "true")
    found.git("config", "--unset", "user.email")
    with pytest.raises(InputError, match="in whose name"):
        react(found, EMBEDDER_2, commit=True)
    assert found.tags() == ["v0.0.1"]


def test_before_the_last_environment_events_make_candidates_and_deploy_nothing_else(
    event_project: EventProject,
) -> None:
    found = event_project
    project = found.configure('environments = ["local", "prd"]\n')
    found.register("embedder")
    assert react(found, EMBEDDER_2).made.release == "v0.0.2-rc1"
    assert react(found, ModelUpdate("embedder", 1)).made.release == "v0.0.2-rc2"
    with pytest.raises(PolicyError, match="final release: events deploy it to prd only"):
        react(found, EMBEDDER_2, candidate=False, start_deploy=True)
    assert react(found, EMBEDDER_2, candidate=False).made.release == "v0.0.3"
    assert project.environments == ("local", "prd")


TABLE = TableSpec(
    name="content",
    kind="derived",
    columns=(ColumnSpec(name="id", type="integer"),),
    primary_key=("id",),
    sources=(SourceSpec(name="film", watermark="SELECT 'w2'"),),
    builder=BuilderSpec(entry="a:b", digest="sha256:" + "2" * 64),
)


def test_newer_data_make_a_release_of_equal_pins_once_the_last_one_was_bound(
    event_project: EventProject,
) -> None:
    found = event_project
    unlocked = react(found, DataUpdate()).made
    assert (unlocked.changed, "is not bound" in unlocked.why) == (False, True)
    lock = found.lock("v0.0.1", tables=(TABLE,))
    found.environment.ledger.bind(
        lock, watermarks={"content.film": "w1"}, fingerprints={}, service_port=4000, lease=None
    )
    made = react(found, DataUpdate()).made
    assert (made.release, made.changed) == ("v0.0.2", True)
    assert pins(found, "v0.0.2") == pins(found, "v0.0.1")
    again = react(found, DataUpdate()).made
    assert (again.release, again.changed) == ("v0.0.2", False)


def test_data_that_have_not_moved_make_no_release(event_project: EventProject) -> None:
    lock = event_project.lock("v0.0.1", tables=(TABLE,))
    event_project.environment.ledger.bind(
        lock, watermarks={"content.film": "w2"}, fingerprints={}, service_port=4000, lease=None
    )
    made = react(event_project, DataUpdate()).made
    assert (made.changed, "no source" in made.why) == (False, True)


def test_a_checkout_behind_the_environment_is_told_so(event_project: EventProject) -> None:
    found = event_project
    found.register("embedder")
    react(found, EMBEDDER_2)
    found.release("v0.0.2").unlink()
    with pytest.raises(MovedError, match=r"knows release v0\.0\.2, later than v0\.0\.1"):
        react(found, EMBEDDER_2)


def test_of_eight_who_tell_the_same_at_once_one_makes_a_release(event_project: EventProject) -> None:
    event_project.register("embedder")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: react(event_project, EMBEDDER_2).made, range(8)))
    assert [made.changed for made in done].count(True) == 1
    assert {made.release for made in done} == {"v0.0.2"}
    assert len(event_project.events()) == 1


def test_a_production_release_pauses_what_staging_has_of_its_version_until_another_is_live_there(
    event_project: EventProject,
) -> None:
    found, notes = event_project, []
    project = found.configure('environments = ["local", "prd"]\n')
    releases = Releases(found.environment, found.root)
    for tag in ("v0.0.2-rc1", "v0.0.3-rc1"):
        releases.locks[tag] = make_lock(tag, app=found.environment.app)
    releases.deploy("v0.0.2-rc1")
    pause_rehearsals(project, "local", "v0.0.2", notes.append)  # not the last environment
    pause_rehearsals(project, "prd", "v0.0.1", notes.append)  # another version
    assert (found.events(), notes) == ([], [])
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    (entry,) = found.events()
    assert entry.reason == "paused: v0.0.2 is live in prd"
    assert paused(found.environment.ledger.entries()) == "v0.0.2-rc1"
    with found.environment.ledger.connect() as conn:
        assert scheduled(conn, "local") is None, "its schedules do not run"
        releases.deploy("v0.0.3-rc1")
        assert scheduled(conn, "local") == releases.locks["v0.0.3-rc1"].digest
    assert paused(found.environment.ledger.entries()) is None


def test_a_staging_that_cannot_be_reached_does_not_fail_the_production_release(
    event_project: EventProject,
) -> None:
    notes: list[Any] = []
    project = event_project.configure('environments = ["stg", "prd"]\n')
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    assert "stg was not paused" in notes[0].text
    assert "never brought up" in notes[0].text


# --- polling


def test_polling_makes_releases_of_what_the_rules_name_and_is_newer(event_project: EventProject) -> None:
    found = event_project
    project = found.configure(
        '[tool.mlops.events]\nmodels = {embedder = "champion", reranker = "*", ghost = "*"}\n'
    )
    found.register("reranker")
    first = polling.poll(project, "local")
    assert (first.made, len(first.problems)) == ((), 2)  # no alias yet, no model of that key
    found.register("embedder")
    found.register("embedder", alias="champion")
    found.register("reranker")
    made = polling.poll(project, "local").made
    assert [one.release for one in made] == ["v0.0.2", "v0.0.3"]
    assert pins(found, "v0.0.3") == {"embedder": "3", "reranker": "2"}
    assert polling.poll(project, "local").made == ()
    assert len(found.events()) == 2


def test_a_release_that_an_event_made_waits_to_be_deployed_until_somebody_began(
    event_project: EventProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = event_project
    project = found.configure('[tool.mlops.events]\ndeploy = true\nmodels = {embedder = "*"}\n')
    deployed: list[str] = []

    def deploy(*arguments: Any, **_: Any) -> None:
        deployed.append(arguments[2].stem)
        details = {"intent": "deploy", "release": arguments[2].stem}
        found.environment.ledger.record("intent", lease=None, details=details)

    monkeypatch.setattr(reacting, "deploy", deploy)
    found.register("embedder")
    polling.poll(project, "local")
    polling.poll(project, "local")
    assert deployed == ["v0.0.2"]
