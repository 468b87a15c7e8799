"""The duty `catch-up`: keeps every kept release close to the live one. See `mlops_sdk.state.follow`."""

from mlops_sdk.errors import MlopsError
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.state.follow import follow_once


def catch_up(work: Work) -> Did:
    """Carry what changed to each kept release, once; with a backlog there is no pause until the next time."""
    problems: list[MlopsError] = []
    waiting = follow_once(work.connection(), work.session.environment, complain=problems.append)
    backlog = sum(waiting.values())
    return Did(_sentence(len(waiting), backlog), more=backlog > 0, problems=tuple(map(str, problems)))


def _sentence(releases: int, backlog: int) -> str:
    if not releases:
        return "no release has forked tables"
    whose = "1 release" if releases == 1 else f"{releases} releases"
    return f"{whose}: {backlog:,} keys wait" if backlog else f"{whose} up to date"
