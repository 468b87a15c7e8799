"""The two ways to run the same steps: one fixed configuration that may become the champion, or a search that may not.

Plain functions of their arguments. They must not know Prefect, nor read the process environment.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from mlops_sdk.errors import InputError
from pipelines.movies import registering
from pipelines.movies.checking import Report, check, require_ok
from pipelines.movies.evaluating import Evaluation, Verdict, evaluate, judge
from pipelines.movies.extracting import Extract, extract
from pipelines.movies.preparing import Prepared, prepare
from pipelines.movies.raw import keep_raw
from pipelines.movies.training import Configuration, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Where:
    """What a run reads and writes: the source, MLflow, folders for raw extracts and for models; the code's commit."""

    source_url: SecretStr
    tracking_uri: str
    raw: Path
    models: Path
    commit: str


@dataclass(frozen=True)
class Outcome:
    """What became of an automated run: the version that stands for this training, None if it was not accepted."""

    version: int | None
    verdict: Verdict
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Trial:
    """One training of an experiment, judged by the validation part, never by the test."""

    configuration: Configuration
    evaluation: Evaluation


def automated(where: Where, configuration: Configuration, say: Say) -> Outcome:
    """All steps with one configuration; what passes becomes the champion.

    The same data, configuration and code again is no second version. Raises PolicyError for an extract that is not fit,
    InputError, UnreachableError.
    """
    found, prepared, report = _data(where, say)
    known = registering.registered(where.tracking_uri, registering.training_digest(found, configuration))
    if known is not None:
        return Outcome(
            known, Verdict(True, f"version {known} was made of the same data, configuration and code")
        )
    model = train(prepared.train, configuration)
    evaluation = evaluate(model, prepared.train, prepared.test)
    say(
        f"{evaluation.films} films of the test: RMSE {evaluation.rmse:.3f}, the mean rating's"
        f" {evaluation.mean_rmse:.3f}, better by {evaluation.over_mean}"
    )
    before = registering.champion(where.tracking_uri, where.models)
    verdict = judge(evaluation, model, before[1] if before else None, prepared.test)
    training = registering.Training(
        found, report, configuration, model, evaluation, prepared.test, where.commit
    )
    run_id = registering.log_run(where.tracking_uri, training, "automated", verdict)
    if not verdict.accepted:
        return Outcome(None, verdict, evaluation)
    return Outcome(registering.register(where.tracking_uri, training, run_id, verdict), verdict, evaluation)


def experiment(where: Where, trials: int, seed: int, say: Say) -> list[Trial]:
    """Train `trials` configurations drawn by `seed`, a run each; the best first. Nothing is registered.

    Raises InputError for no trial, PolicyError for an extract that is not fit, UnreachableError.
    """
    if trials < 1:
        raise InputError(f"{trials} trials find nothing", where="trials", remedy="say 1 or more")
    found, prepared, report = _data(where, say)
    done = []
    for number, configuration in enumerate(candidates(trials, seed), 1):
        model = train(prepared.train, configuration)
        evaluation = evaluate(model, prepared.train, prepared.validation)
        training = registering.Training(
            found, report, configuration, model, evaluation, prepared.validation, where.commit
        )
        registering.log_run(where.tracking_uri, training, f"experiment {seed}, trial {number}")
        say(f"trial {number} of {trials}: RMSE {evaluation.rmse:.3f} with {configuration.model_dump_json()}")
        done.append(Trial(configuration, evaluation))
    return sorted(done, key=lambda trial: trial.evaluation.rmse)


def candidates(trials: int, seed: int) -> Iterator[Configuration]:
    """Configurations by chance, the same for the same seed. The first is the default, to have something to beat."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    for number in range(trials):
        if number == 0:
            yield Configuration()
            continue
        yield Configuration(
            max_iter=draw.choice([100, 150, 200, 300, 400]),
            learning_rate=round(10 ** draw.uniform(-2, -0.6), 4),
            max_leaf_nodes=draw.choice([7, 15, 31, 63]),
            min_samples_leaf=draw.choice([5, 10, 20, 40]),
            l2_regularization=round(10 ** draw.uniform(-2, 1.5), 3),
        )


def _data(where: Where, say: Say) -> tuple[Extract, Prepared, Report]:
    found = extract(where.source_url)
    report = check(found.rows)
    require_ok(report)
    path = keep_raw(found, where.raw)
    say(f"{report.rows:,} films, {report.rated:,} of them rated, {found.data_digest[:19]} in {path.name}")
    return found, prepare(found.rows), report
