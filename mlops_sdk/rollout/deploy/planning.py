"""What a deploy would do: the plan with its facts, for who only looks. It loads nothing that applies one."""

from dataclasses import replace
from pathlib import Path

from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy.asking import ask_facts
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.locking.lock import lock_manifest
from mlops_sdk.rollout.observed.for_plan import observe
from mlops_sdk.rollout.plan.plan import Plan, build_plan
from mlops_sdk.rollout.plan.promotion import refuse_candidate


def plan_deploy(project: Project, environment: str, manifest: Path) -> Plan:
    """Return what `deploy` would do. Changes no file of the project and no row of the environment.

    Raises what `lock_manifest`, `observe` and `build_plan` raise.
    """
    project.check_environment(environment)
    refuse_candidate(project, environment, load_manifest(manifest, scheme=project.scheme).release)
    lock = lock_manifest(project, environment, manifest, write=False)
    with open_session(project, environment) as session:
        observed = observe(session, lock)
        # A plan only looks: a hold is shown by what it would do, and refused when it is done.
        plan = build_plan(lock, observed, keep=project.keep, override_hold=True)
        return replace(plan, facts=ask_facts(session, lock, observed.live_lock, plan, preview=True))
