"""What `mlops plan` costs over the preview that it contains, with nothing changed."""

from dataclasses import dataclass

from tools.bench.figures import Bar, Figure
from tools.bench.release.pairs import pairs, ratios
from tools.bench.release.project import ENVIRONMENT, Project
from tools.bench.running import Found, Say


@dataclass(frozen=True)
class Sizes:
    """Pairs of runs."""

    pairs: int


FULL = Sizes(pairs=9)
QUICK = Sizes(pairs=2)


def measure(project: Project, sizes: Sizes, say: Say) -> Found:
    """Figures of both, and of the one against the other in the same pair."""
    manifest = f"stacks/releases/{project.live}.yaml"

    def plan() -> float:
        done = project.mlops("plan", manifest, "-e", ENVIRONMENT)
        if "no change" not in done.out:
            raise RuntimeError(f"something was to change: {done.out}")
        return done.seconds

    def preview() -> float:
        return project.pulumi("preview", "-s", ENVIRONMENT, "--non-interactive").seconds

    ours, bare = pairs(sizes.pairs, plan, preview, warm=True, say=lambda line: say(f"plan: {line}"))
    how = "nothing changed, everything runs, warm; in turn with each other"
    return [
        Figure("`mlops plan`", how, "s", ours),
        Figure("`pulumi preview`", how, "s", bare),
        Figure(
            "`mlops plan` against `pulumi preview`",
            "ratios of the same pairs",
            "x",
            ratios(ours, bare),
            Bar(1.5),
        ),
    ], [
        "`mlops plan` asks ledger, services, router and Pulumi. `pulumi preview` runs on what `mlops stack env` exports"
        " and shows resources alone; the plan contains one."
    ]
