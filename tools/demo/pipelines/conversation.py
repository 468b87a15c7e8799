"""The concierge: twenty adapters of one conversation. Dearer breakfast goes live and back; what was said stays."""

from dataclasses import dataclass, field
from uuid import uuid4

from tools.demo.pipelines.stage import Changes, Stage
from tools.demo.pipelines.versions import versions

QUESTIONS = ("How much is the breakfast?", "And until when?")


@dataclass
class Conversation:
    """The part of the concierge."""

    stage: Stage
    name: str = "conversation"
    manifest: str = "pipelines/conversation/releases/v0.0.1.yaml"
    _person: str = field(default_factory=lambda: uuid4().hex)
    _asked: int = 0

    def prepare(self) -> tuple[Changes, Changes]:
        """Train twenty adapters for two seasons; the second release has breakfast of the high season."""
        self.stage.python("pipelines.conversation.flow")
        return {}, {"models.breakfast.version": versions(self.stage, "concierge-breakfast")[-1]}

    def use(self, tag: str) -> None:
        """Nothing beside what is looked at: whoever looks talks."""

    def look(self, tag: str) -> object:
        """What is answered to two questions, the second of which leaves its subject out."""
        answers = []
        for text in QUESTIONS:
            body = {"conversation_id": self._person, "text": text}
            said = self.stage.ask(tag, "POST", "/say", json=body).json()
            self.stage.out.say(f"    turn {said['turn']}: {text} {said['answer']}")
            answers.append(said["answer"])
            self._asked += 1
        return answers

    def after(self, tag: str) -> None:
        """Every turn is there, whoever answered it."""
        found = self.stage.ask(tag, "GET", "/conversation", params={"conversation_id": self._person})
        turns = [turn["turn"] for turn in found.json()["turns"]]
        self.stage.require(
            turns == list(range(1, self._asked + 1)), f"all {self._asked} turns of the conversation are there"
        )
