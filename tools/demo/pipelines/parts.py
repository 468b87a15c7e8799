"""What a part of the demo is, and which there are: one a pipeline. A part knows its pipeline, not who deploys it."""

from typing import Protocol

from tools.demo.pipelines.conversation import Conversation
from tools.demo.pipelines.dates import Victim
from tools.demo.pipelines.movies import Movies
from tools.demo.pipelines.recommender import Recommender
from tools.demo.pipelines.rfm import Rfm
from tools.demo.pipelines.stage import Changes, Stage
from tools.demo.pipelines.template import Template


class Part(Protocol):
    """One pipeline: what is trained, what its two releases pin, how one is run, and what is seen of it then."""

    name: str
    manifest: str

    def prepare(self) -> tuple[Changes, Changes]:
        """Load and train; what the first and the second release have other than the manifest."""
        ...

    def use(self, tag: str) -> None:
        """Run the release, which is live, and check what it did."""
        ...

    def look(self, tag: str) -> object:
        """What people see of the live release: it is shown, and must be the same again after a rollback."""
        ...

    def after(self, tag: str) -> None:
        """Check what must hold once the first release, `tag`, is live again."""
        ...


def parts(stage: Stage, kill: Victim | None) -> tuple[Part, ...]:
    """Every pipeline, in the order in which the demo shows them."""
    return (
        Recommender(stage),
        Movies(stage, kill),
        Rfm(stage, kill),
        Template(stage),
        Conversation(stage),
    )
