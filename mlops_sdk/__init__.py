"""Release code, models and state together, and roll all three back together.

The names below are the SDK's public API, for CI scripts and notebooks; what they do is in their own modules.
Importing this package imports none of them: each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_sdk.release.manifest import Manifest
    from mlops_sdk.release.manifest_file import load_manifest
    from mlops_sdk.release.next_release import CodeUpdate, DataUpdate, ModelUpdate
    from mlops_sdk.release.project import Project, load_project
    from mlops_sdk.rollout.deploy.deploy import deploy, deploy_saved
    from mlops_sdk.rollout.deploy.planning import plan_deploy
    from mlops_sdk.rollout.deploy.rollback import Rollback, rollback
    from mlops_sdk.rollout.doctor.checks import doctor
    from mlops_sdk.rollout.environment.bring_up import bring_up
    from mlops_sdk.rollout.events.poll import poll
    from mlops_sdk.rollout.events.react import react
    from mlops_sdk.rollout.locking.lock import lock_manifest
    from mlops_sdk.rollout.plan.markdown import plan_markdown
    from mlops_sdk.rollout.plan.saved_plan import save_plan
    from mlops_sdk.rollout.promote.attest import attest
    from mlops_sdk.rollout.promote.blocks import block, unblock
    from mlops_sdk.rollout.promote.promote import promote
    from mlops_sdk.rollout.questions.ask import at, history, status
    from mlops_sdk.rollout.verify.reverify import reverify
    from mlops_sdk.state.reading import connect

__version__ = "0.1.0"

_WHERE = {
    "CodeUpdate": "release.next_release",
    "DataUpdate": "release.next_release",
    "Manifest": "release.manifest",
    "ModelUpdate": "release.next_release",
    "Project": "release.project",
    "Rollback": "rollout.deploy.rollback",
    "at": "rollout.questions.ask",
    "attest": "rollout.promote.attest",
    "block": "rollout.promote.blocks",
    "bring_up": "rollout.environment.bring_up",
    "connect": "state.reading",
    "deploy": "rollout.deploy.deploy",
    "deploy_saved": "rollout.deploy.deploy",
    "doctor": "rollout.doctor.checks",
    "history": "rollout.questions.ask",
    "load_manifest": "release.manifest_file",
    "load_project": "release.project",
    "lock_manifest": "rollout.locking.lock",
    "plan_deploy": "rollout.deploy.planning",
    "plan_markdown": "rollout.plan.markdown",
    "poll": "rollout.events.poll",
    "promote": "rollout.promote.promote",
    "react": "rollout.events.react",
    "reverify": "rollout.verify.reverify",
    "rollback": "rollout.deploy.rollback",
    "save_plan": "rollout.plan.saved_plan",
    "status": "rollout.questions.ask",
    "unblock": "rollout.promote.blocks",
}

__all__ = [
    "CodeUpdate",
    "DataUpdate",
    "Manifest",
    "ModelUpdate",
    "Project",
    "Rollback",
    "__version__",
    "at",
    "attest",
    "block",
    "bring_up",
    "connect",
    "deploy",
    "deploy_saved",
    "doctor",
    "history",
    "load_manifest",
    "load_project",
    "lock_manifest",
    "plan_deploy",
    "plan_markdown",
    "poll",
    "promote",
    "react",
    "reverify",
    "rollback",
    "save_plan",
    "status",
    "unblock",
]


def __getattr__(name: str) -> object:
    """Load a name of the public API from its module (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
