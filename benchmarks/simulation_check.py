"""The simulated cluster beside a measured one: the demo's model on this CPU, with one replica and with two.

    python benchmarks/simulation_check.py [--replicas 1 2] [--rounds 3] [--times 5] [-o results.json]

First a run over two rounds gives what the simulation wants to know: tokens of an answer, how many revisions pass, seconds of a
trained token. Its prompts, answered in blocks of several sizes, give the seconds of a decode step and the slope. Then a run on
other prompts is measured, and simulated with these numbers and its own share of failures by round, at the clock's own speed.
What is compared is the time of the rounds. Everything is measured `--times` times, each stage of each round by itself, and the
least is taken, which is nearest to what an idle machine takes.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scene
from simulated_cluster import NAMES, Stages, a_round, ray_with, simulate
from sleeping import Machine

from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, Sampling, TrainingExample
from iteralign.rundir.reader import read_run
from iteralign.runs.build import build_model, build_target, build_trainer
from iteralign.runs.run import run
from iteralign.settings.settings import load_settings
from iteralign.targets.cluster import ClusterTarget
from iteralign.weights.storage import Storage

RECIPE = Path(__file__).parents[1] / "recipes" / "demo.yaml"
SIZES = (2, 4, 10, 20, 40)
SAME = ["revision.tries=4", "revision.max_principles=2", "training.replay=1.0", "training.min_replay=32"]
SAME += ["training.min_benign=96", "sampling.max_new_tokens=72"]
"""Settings of the demo that the simulation has, too."""


class Timed(Trainer):
    """Another trainer, timed."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.seconds: list[float] = []
        self.rows: list[int] = []

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        begin = time.perf_counter()
        made = self.trainer.finetune(start, examples, directory, round_number)
        self.seconds.append(time.perf_counter() - begin)
        self.rows.append(len(examples))
        return made

    def a_row(self, trainings: int) -> float:
        """Seconds, in the quickest of the runs that had so many trainings each."""
        begins = range(0, len(self.rows), trainings)
        return min(sum(self.seconds[one : one + trainings]) / sum(self.rows[one : one + trainings]) for one in begins)


def decoding(target: ClusterTarget, inputs: Sequence[str], sampling: Sampling) -> list[float]:
    """Seconds of a step, for blocks of each of SIZES."""
    found = []
    for size in SIZES:
        begin = time.perf_counter()
        longest = max(one.tokens for one in target.generate(inputs[: size * target.replicas], sampling))
        found.append((time.perf_counter() - begin) / longest)
    return found


def measured(replicas: int, rounds: int, times: int, place: Path) -> tuple[Machine, dict[str, float]]:
    """The machine as it was found, and seconds by stage of the run."""
    fixed = [f"cluster.replicas={replicas}", "cluster.address=local", "data.held_out=0", "data.benign_held_out=0"]
    fixed += ["data.benign_limit=100", "measure.capability=null"]
    settings = load_settings(RECIPE, [*fixed, f"data.limit={20 * rounds}"])
    before = load_settings(RECIPE, [*fixed, "data.limit=40", "seed=1"])
    model = build_model(settings, Storage(place))  # all runs lie there
    target = build_target(settings, model)
    assert isinstance(target, ClusterTarget)
    trainer = Timed(build_trainer(settings, model))
    try:
        target.check()
        least: dict[tuple[int, str], float] = {}
        steps = []
        for time_ in range(times):  # in turn, so that other work on the machine disturbs all of it alike
            run(before, place / f"before-{time_}", target=target, trainer=trainer)
            inputs = [answer.input for one in read_run(place / "before-0").rounds() for answer in one.responses()]
            steps.append(decoding(target, inputs * 2, settings.sampling))
            stages = Stages()
            outcome = run(settings, place / f"run-{time_}", target=target, trainer=trainer.trainer, progress=stages)
            least = {key: min(least.get(key, seconds), seconds) for key, seconds in stages.seconds.items()}
    finally:
        target.close()
    failing = [row.failures / row.prompts for row in outcome.metrics if row.round >= 0]
    known = machine(place / "before-0", trainer, replicas)
    slope, step = statistics.linear_regression(SIZES, [min(some) for some in zip(*steps, strict=True)])
    return dataclasses.replace(known, step=max(1e-5, step), slope=max(1e-7, slope), failing=failing), a_round(
        least, 1.0
    )


def machine(run_dir: Path, trainer: Timed, replicas: int) -> Machine:
    """What a run shows of it."""
    rounds = read_run(run_dir).rounds()
    answers = [verdict for one in rounds for verdict in one.verdicts()]
    revisions = [one_try.verdict for one in rounds for one_try in one.revisions() if one_try.verdict is not None]
    along = [one.response.tokens for one in answers if one.label == "unacceptable"]
    declined = [one.response.tokens for one in revisions if one.label == "acceptable"]
    tokens = statistics.mean(along)
    harmless = statistics.mean(one.tokens for one in read_run(run_dir).baseline.responses())
    prompt = statistics.mean(one.response.prompt_tokens for one in answers)
    ratio = statistics.mean(declined) / tokens
    return Machine(
        gpus=replicas,
        on_gpus=False,
        training_gpus=1,
        full=False,
        parameters=1.1e6,
        mended=len(declined) / len(revisions),
        principles=round(statistics.mean(len(one.principles()) for one in rounds)),
        tokens=tokens,
        declining=ratio,
        harmless=harmless / tokens,
        spread=statistics.pstdev(along) / tokens,
        most_tokens=72,
        prompt_tokens=prompt,
        rows=64,
        waits=True,
        peak=1e30,
        train_token=trainer.a_row(len(rounds)) / ((prompt + ratio * tokens) * 3),
        train_setup=0.0,
        verdict=0.0,
        proposal=0.0,
        rate=1e9,
        concurrency=0,
    )


def compared(replicas: int, rounds: int, times: int) -> dict[str, Any]:
    """A run, and the same simulated."""
    with tempfile.TemporaryDirectory() as scratch, ray_with(0):
        found, real = measured(replicas, rounds, times, Path(scratch))
    (simulated,) = simulate(found, [20], rounds, 1.0, SAME)
    off = simulated["seconds"] / sum(real.values()) - 1
    print(f"{replicas} replica(s): a step {found.step_seconds * 1e3:.2f} ms, slope {found.slope_seconds * 1e6:.0f} us")
    print(f"{'':10} {'all':>9} " + " ".join(f"{name[:9]:>9}" for name in NAMES))
    for name, stages in (("measured", real), ("simulated", simulated["stages"])):
        print(f"{name:10} {sum(stages.values()):9.2f} " + " ".join(f"{stages[one]:9.2f}" for one in NAMES))
    print(f"off by {off:+.1%}", flush=True)
    return {"replicas": replicas, "machine": dataclasses.asdict(found), "measured": real, "off": off} | {
        "simulated": simulated["stages"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    import trl.trainer.sft_trainer  # noqa: F401  # not in a round's time

    rows = [compared(replicas, given.rounds, given.times) for replicas in given.replicas]
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps({"rows": rows, "surroundings": scene.surroundings()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
