"""From a manifest to its lock: the one place where refs and aliases are resolved.

An existing lock is used, never resolved again, unless a person asks for it; nothing later resolves anything.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.platform.checkout import ensure_checkout, ensure_python, snapshot
from mlops_sdk.platform.git import file_at
from mlops_sdk.release.digest import digest_of_bytes
from mlops_sdk.release.lock import Lock, LockedCode, LockedModel, Smoke
from mlops_sdk.release.lock_file import lock_path, read_lock, write_lock
from mlops_sdk.release.manifest import Manifest
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.project import Project
from mlops_sdk.release.versioned_data import LockedData
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.environment.code import DEPENDENCY_LOCK, lockable
from mlops_sdk.rollout.environment.declared import declared_state, keep
from mlops_sdk.rollout.environment.opening import open_session, registry_of
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.locking.data import bring_data, locked_data

if TYPE_CHECKING:
    from mlops_sdk.registry.client import FetchedModel, Registry
    from mlops_sdk.registry.models import ResolvedModel


def lock_manifest(
    project: Project,
    environment: str,
    path: Path,
    *,
    update: bool = False,
    allow_dirty: bool = False,
    write: bool = True,
    report: Report = silent,
) -> Lock:
    """Return the lock of the manifest at `path`, made and (with `write`) written beside it where there is none.

    Models are asked of the project's registry, which `environment` names where the project has none of its own.
    Raises ManifestError, NotFoundError (ref, model, version, alias), UnreachableError (MLflow), PolicyError
    (uncommitted changes; `update` of a tag that a ledger knows), InputError (the manifest changed after it was locked).
    """
    manifest = load_manifest(path, scheme=project.scheme)
    target = lock_path(path)
    if target.exists() and not update:
        return _existing(manifest, path, target)
    if update and target.exists():
        _refuse_bound(project, environment, manifest.release)
    lock = _resolve(project, environment, manifest, allow_dirty=allow_dirty, report=report)
    if write:
        write_lock(target, lock)
        report(Note(f"locked {lock.release} as {lock.digest[:19]} in {target.name}"))
    return lock


def _existing(manifest: Manifest, path: Path, target: Path) -> Lock:
    lock = read_lock(target)
    if lock.manifest != manifest.document_digest():
        raise InputError(
            f"the manifest was changed after {target.name} was made",
            where=str(path),
            remedy="undo the change, or resolve it anew: `mlops lock --update FILE`",
        )
    return lock


def _refuse_bound(project: Project, environment: str, release: str) -> None:
    """Raise PolicyError where a ledger knows the tag: of this environment, or another that is on this machine."""
    here = [name for name in project.environments if _was_up(project, name) or name == environment]
    for name in here:
        with open_session(project, name) as session:
            bound = next((b for b in session.ledger.bindings(retired=True) if b.release == release), None)
        if bound:
            raise PolicyError(
                f"{release} is in the ledger of {name}, and a release never changes",
                remedy="give the new combination a tag of its own",
            )


def _was_up(project: Project, environment: str) -> bool:
    return (project.environment_folder(environment) / "env" / "operator.env").exists()


def release_code(
    project: Project, commit: str, report: Report = silent, *, data: Mapping[str, LockedData] | None = None
) -> ReleaseCode:
    """Return the checkout and dependency environment of `commit`, made where they are missing.

    The release's `data` is in its places there. Raises PolicyError where that cannot be had as it was locked.
    """
    checkout = ensure_checkout(project.root, commit)
    if data:
        bring_data(project, checkout, data, report)
    lock = file_at(project.root, commit, DEPENDENCY_LOCK)
    python = ensure_python(project.root, lock, report=lambda line: report(Note(line)))
    return ReleaseCode(checkout=checkout, python=python)


def _resolve(
    project: Project, environment: str, manifest: Manifest, *, allow_dirty: bool, report: Report
) -> Lock:
    found = lockable(
        project.root,
        manifest.code.ref,
        allow_dirty=allow_dirty,
        snapshot=lambda root: snapshot(root, manifest.release),
    )
    code = release_code(project, found.commit, report)
    cache = project.root / ".mlops" / "models"
    registry = registry_of(project, environment) if manifest.models else None
    if registry:
        report(Note(f"asking MLflow for {', '.join(sorted(manifest.models))}"))
    # All of them before anything slow: a name that nobody knows is said at once.
    resolved = {key: registry.resolve(ref) for key, ref in manifest.models.items()} if registry else {}
    # Downloading models and importing release code wait for different things.
    with ThreadPoolExecutor(max_workers=4) as pool:
        state = (
            pool.submit(declared_state, project.root, code, found.commit, manifest.state)
            if manifest.state
            else None
        )
        named = pool.submit(_require_named, code, manifest)
        models = {
            key: pool.submit(_lock_model, registry, found_model, code, cache)
            for key, found_model in resolved.items()
            if registry
        }
        locked = {key: future.result() for key, future in models.items()}
        locked_state = state.result() if state else None
        named.result()
    for key, model in locked.items():
        report(Note(f"model {key} = {model.name} version {model.version}"))
    return Lock(
        schema=1,
        release=manifest.release,
        app=project.app,
        code=LockedCode(
            ref=manifest.code.ref,
            commit=found.commit,
            tree=found.tree,
            dirty=found.dirty,
            dependencies=digest_of_bytes(file_at(project.root, found.commit, DEPENDENCY_LOCK)),
        ),
        models=locked,
        state=locked_state,
        service=manifest.service,
        jobs=manifest.jobs,
        flows=manifest.flows,
        parameters=manifest.parameters,
        data=locked_data(code.checkout, manifest.data),
        verify=manifest.verify,
        shift=manifest.shift,
        manifest=manifest.document_digest(),
    )


def _require_named(code: ReleaseCode, manifest: Manifest) -> None:
    """Raise InputError naming every job or flow of the manifest that the release's code has not."""
    if manifest.jobs is None and not manifest.flows:
        return
    asked = {"jobs": manifest.jobs, "flows": {name: one.document() for name, one in manifest.flows.items()}}
    faults = code.run_json("mlops_sdk.workload.declared", json.dumps(asked))
    if faults:
        raise InputError(
            "the release's code has not what the manifest names\n" + "\n".join(f"  {one}" for one in faults),
            where=str(code.checkout),
            remedy="mend the manifest, or the code in a new commit",
        )


def _lock_model(
    registry: "Registry", resolved: "ResolvedModel", code: ReleaseCode, cache: Path
) -> LockedModel:
    """Download one model and record what it answers to its own input example."""
    fetched = registry.fetch(resolved.name, resolved.version, cache)
    smoke = _smoke(fetched, code)
    return LockedModel(
        name=resolved.name,
        version=resolved.version,
        digest=fetched.digest,
        alias=resolved.alias,
        run_id=resolved.run_id,
        signature=resolved.signature,
        smoke=smoke,
    )


def _smoke(fetched: "FetchedModel", code: ReleaseCode) -> Smoke | None:
    """What the model answers to its input example; None without one.

    A pure function of artifact and dependency environment, so it is computed once for both and kept beside the model.
    """
    kept = fetched.folder.with_name(f"{fetched.folder.name}.smoke-{code.python.parent.parent.name}.json")
    if kept.exists():
        document = json.loads(kept.read_text(encoding="utf-8"))
    else:
        document = code.run_json("mlops_sdk.registry.smoke", str(fetched.folder))
        keep(kept, document)
    return Smoke.from_document(document) if document else None
