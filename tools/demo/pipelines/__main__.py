"""`make demo-all`: each pipeline is trained, released, run, released again, run, and rolled back, on this machine.

With `--kill consumer`, `invoker` or `worker` that process is killed in the middle of the first date of each job. Every
step is a command that a person could type; its output is shown and kept in `.mlops/demo-all/transcript.txt`. Every
claim is checked in that run, and one that does not hold ends it with 1.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import get_args

from mlops_sdk.errors import MlopsError
from mlops_sdk.runtime import env_file
from tools.demo.pipelines.dates import Victim
from tools.demo.pipelines.parts import Part, parts
from tools.demo.pipelines.stage import MANIFESTS, Stage, environment_folder
from tools.demo.transcript import Transcript

ENVIRONMENT = "local"


@dataclass(frozen=True)
class Figure:
    """How long a part took, in seconds; its two releases."""

    pipeline: str
    first: str
    second: str
    train_s: float
    release_s: float
    run_s: float
    back_s: float


def main() -> None:
    """Bring the platform up, play the parts, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo.pipelines")
    parser.add_argument("--kill", choices=get_args(Victim), help="kill this in the middle of each job")
    parser.add_argument("--only", action="append", metavar="PIPELINE", help="this one; may be given again")
    given = parser.parse_args()
    out = Transcript(MANIFESTS / "transcript.txt")
    began = time.monotonic()
    out.run("mlops", "up", ENVIRONMENT)
    settings = env_file.load_layers(environment_folder(ENVIRONMENT), "environment", "operator")
    stage = Stage(out, ENVIRONMENT, settings)
    stage.release_hold()
    figures = []
    for number, part in enumerate(parts(stage, given.kill), 1):
        if not given.only or part.name in given.only:
            out.step(number, part.name)
            figures.append(play(stage, part))
    out.run("mlops", "history", ENVIRONMENT)
    show(stage, figures, time.monotonic() - began)
    sys.exit(1 if stage.problems else 0)


def play(stage: Stage, part: Part) -> Figure:
    """One pipeline: train, release, run, release, run, roll back; what is seen after it is what was seen before."""
    clock = [time.monotonic()]

    def lap() -> float:
        clock.append(time.monotonic())
        return round(clock[-1] - clock[-2], 1)

    changes = part.prepare()
    train_s = lap()
    first = stage.deploy(part.manifest, changes[0], f"{part.name}, the first")
    release_s = lap()
    part.use(first)
    before = part.look(first)
    run_s = lap()
    second = stage.deploy(part.manifest, changes[1], f"{part.name}, the second")
    release_s += lap()
    part.use(second)
    meanwhile = part.look(second)
    run_s += lap()
    stage.roll_back()
    back_s = lap()
    again = part.look(first)
    stage.require(before != meanwhile, f"{second} answers otherwise than {first}")
    stage.require(before == again, f"after the rollback {first} answers as it did")
    part.after(first)
    return Figure(part.name, first, second, train_s, round(release_s, 1), round(run_s, 1), back_s)


def show(stage: Stage, figures: list[Figure], whole_s: float) -> None:
    """Print the table of figures and every claim that does not hold."""
    out = stage.out
    document = {
        "parts": [asdict(each) for each in figures],
        "whole_s": round(whole_s, 1),
        "most_memory_mb": round(stage.most_memory_mb),
        "most_programs": stage.most_programs,
    }
    (MANIFESTS / "figures.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    out.say(f"\nMeasured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in seconds:")
    out.say(f"  {'pipeline':<14}{'releases':<20}{'train':>8}{'release':>9}{'run':>8}{'roll back':>11}")
    for each in figures:
        tags = f"{each.first}, {each.second}"
        out.say(
            f"  {each.pipeline:<14}{tags:<20}{each.train_s:>8}{each.release_s:>9}{each.run_s:>8}{each.back_s:>11}"
        )
    out.say(f"  all of it: {whole_s:.1f} s")
    out.say(
        f"  the platform at its fullest, {stage.most_programs} programs, sum of PSS: {stage.most_memory_mb:.0f} MB"
    )
    for problem in stage.problems:
        out.say(f"FAILED: {problem}")
    if not stage.problems:
        out.say("Every claim above holds.")


if __name__ == "__main__":
    try:
        main()
    except MlopsError as error:
        sys.exit(f"the demo ends here: {error}")
