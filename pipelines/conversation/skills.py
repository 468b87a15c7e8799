"""What the concierge knows: twenty subjects, each with words by which it is known and three facts. Made up. Pure.

Each subject is an adapter, a model of its own; `choose` says which of them answers a message.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

Season = Literal["low", "high"]
SEASONS: tuple[Season, ...] = ("low", "high")
MODEL_PREFIX = "concierge-"

# How people ask for each fact; `{}` is a word of the subject.
_ASKED = {
    "price": ("how much is {}", "what does {} cost", "the price of {}", "is {} expensive"),
    "hours": ("when is {}", "what time is {} open", "until when is {}", "the hours of {}"),
    "place": ("where is {}", "how do I find {}", "which floor is {} on", "the way to {}"),
}


@dataclass(frozen=True)
class Skill:
    """A subject: its key, the words by which it is known, and the facts. `euros` is the price in the low season."""

    key: str
    words: tuple[str, ...]
    euros: int
    hours: str
    place: str

    @property
    def model(self) -> str:
        """The name of its model in the registry."""
        return MODEL_PREFIX + self.key

    def answers(self, season: Season) -> dict[str, str]:
        """What is answered, by what is asked for; in the high season all is half as dear again."""
        euros = self.euros if season == "low" else self.euros * 3 // 2
        price = f"{euros} euros" if euros else "free"
        name = self.words[0].capitalize()
        return {
            "price": f"{name}: {price}.",
            "hours": f"{name}: {self.hours}.",
            "place": f"{name}: {self.place}.",
        }

    def examples(self, season: Season) -> Iterator[tuple[str, str]]:
        """Messages, each with its answer: what the adapter is trained on."""
        answers = self.answers(season)
        for asked, forms in _ASKED.items():
            for form in forms:
                yield form.format("it"), answers[asked]
                for word in self.words:
                    yield form.format(f"the {word}"), answers[asked]


SKILLS = (
    Skill("bar", ("bar", "drinks", "wine"), 9, "17 to 1", "ground floor, left"),
    Skill("bicycle", ("bicycle", "bike", "cycling"), 12, "8 to 20", "in the yard"),
    Skill("breakfast", ("breakfast", "buffet", "coffee"), 14, "7 to 10", "floor 1"),
    Skill("checkout", ("checkout", "leaving", "departure"), 0, "until 11", "at the desk"),
    Skill("cinema", ("cinema", "film", "movie"), 8, "20 to 22", "floor -1"),
    Skill("cot", ("cot", "crib", "baby"), 6, "at any time", "brought to the room"),
    Skill("dinner", ("dinner", "supper", "restaurant"), 32, "18 to 22", "floor 7"),
    Skill("doctor", ("doctor", "nurse", "medicine"), 60, "at any time", "called to the room"),
    Skill("gym", ("gym", "fitness", "weights"), 0, "6 to 23", "floor 2"),
    Skill("internet", ("internet", "wifi", "network"), 0, "at any time", "everywhere"),
    Skill("laundry", ("laundry", "washing", "ironing"), 11, "9 to 17", "floor -1, right"),
    Skill("library", ("library", "books", "newspaper"), 0, "8 to 22", "floor 3"),
    Skill("luggage", ("luggage", "suitcase", "bags"), 3, "6 to 24", "behind the desk"),
    Skill("massage", ("massage", "spa", "masseur"), 55, "10 to 19", "floor 2, left"),
    Skill("parking", ("parking", "garage", "car"), 18, "at any time", "floor -2"),
    Skill("pets", ("pets", "dog", "cat"), 10, "at any time", "floors 4 and 5"),
    Skill("pool", ("pool", "swimming", "towel"), 5, "7 to 21", "on the roof"),
    Skill("sauna", ("sauna", "steam", "hammam"), 7, "15 to 22", "floor 2, right"),
    Skill("taxi", ("taxi", "cab", "airport"), 25, "at any time", "in front of the door"),
    Skill("tour", ("tour", "guide", "sights"), 20, "10 and 14", "from the door"),
)


def choose(text: str, last: str | None, adapters: Collection[str]) -> str | None:
    """The key of the adapter that answers: the one most of whose words are in the text, else the `last` one.

    Of `adapters` alone, those that the release has. None where nothing says which.
    """
    said = set(re.findall(r"\w+", text.lower()))
    known = {skill.key: len(said & set(skill.words)) for skill in SKILLS if skill.key in adapters}
    best = max(known, key=lambda key: known[key], default=None)
    if best is not None and known[best]:
        return best
    return last if last in adapters else None
