"""The recommender: a better reranker goes live and back; feedback that its readers gave meanwhile stays."""

from dataclasses import dataclass, field

from tools.demo.pipelines.stage import Changes, Stage

READER, WRITER = 7, 101  # the first never gives feedback here, so that answers are comparable
FILMS = (11, 12, 13)


@dataclass
class Recommender:
    """The part of the recommender."""

    stage: Stage
    name: str = "recommender"
    manifest: str = "stacks/releases/v0.0.1.yaml"
    _accepted: list[str] = field(default_factory=list)

    def prepare(self) -> tuple[Changes, Changes]:
        """Load films and interactions, train both models in two versions."""
        self.stage.python("pipelines.recommender.source")
        self.stage.python("pipelines.recommender.flow")
        return {}, {"models.reranker.version": 2}

    def use(self, tag: str) -> None:
        """Give feedback."""
        for film in FILMS:
            body = {"user_id": WRITER, "film_id": film, "rating": 5}
            answer = self.stage.ask(tag, "POST", "/feedback", json=body)
            self._accepted.append(answer.headers["X-Request-Id"])
        self.stage.out.say(f"  {len(FILMS)} ratings of reader {WRITER} were accepted by {tag}")

    def look(self, tag: str) -> object:
        """Five films for a reader."""
        answer = self.stage.ask(tag, "GET", "/recommend", params={"user_id": READER, "k": 5})
        self.stage.out.say(f"  {answer.headers['X-MLOps-Release']} with {answer.headers['X-MLOps-Models']}")
        films = answer.json()["films"]
        for film in films:
            self.stage.out.say(f"    {film['score']:.3f}  {film['title']}")
        return films

    def after(self, tag: str) -> None:
        """Every feedback is in the log that all releases share, and the writer's own row has what it met."""
        with self.stage.operator() as conn:
            row = conn.execute(
                "SELECT count(DISTINCT request_id) FROM shared.interactions WHERE request_id = ANY(%s)",
                [self._accepted],
            ).fetchone()
        kept = row[0] if row else 0
        given = len(self._accepted)
        self.stage.require(kept == given, f"{kept} of {given} ratings that were accepted are there")
        with self.stage.connect(tag) as conn:
            row = conn.execute("SELECT met FROM users WHERE user_id = %s", [WRITER]).fetchone()
        met = row[0] if row else []
        self.stage.require(set(FILMS) <= set(met), f"{tag} knows that reader {WRITER} has met films {FILMS}")
