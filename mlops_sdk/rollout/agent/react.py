"""The duty `events`: asks the registry what is new, makes releases, deploys what waits. See `rollout.events.poll`.

A deploy is that of any deployer, with steps, gates and turn-back, and may take hours: the other duties go on. It ends
with the process, and then `turn-back` takes it back. What is declared is read each time: it needs no restart.
"""

from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.environment.session import AGENT_EVENTS

EVENTS = "events"
"""The name of the duty, by which the receiver wakes it."""


def react(work: Work) -> Did:
    """Look once, where `[tool.mlops.events]` declares anything. Raises what `poll` raises."""
    project = load_project(work.session.project.root)
    if not project.events.declared:
        return Did("nothing is declared in [tool.mlops.events]")
    from mlops_sdk.rollout.events.poll import poll

    found = poll(project, work.session.environment, report=work.session.report, who=AGENT_EVENTS)
    done = [made.sentence() for made in found.made]
    done += [found.deployed.sentence()] if found.deployed else []
    return Did("; ".join(done) or "nothing new", problems=found.problems)
