"""A run on a cluster of GPUs that is not there: the real loop and the real replicas, whose GPUs sleep.

    python benchmarks/simulated_cluster.py [--gpus 64] [--parameters 70e9 --tensor-parallel 4 --no-full] [--prompts 100 1000]

Real are `iteralign.run` with its run directory and look-ahead, ClusterTarget, Ray with an actor for each replica (its GPUs are
numbers to Ray), and the threads that ask the oracle. What sleeps is what takes time on a GPU and in the oracle
(benchmarks/sleeping.py), `--speed` times as fast as it would be. All that is real counts `speed` times, too: a round trip
through Ray takes about a millisecond, so at 10 a hundredth of a second of each chunk that takes several, and each actor's
start 20 to 50 s. The driver's processor time is printed as a share of the run's, as a check: far below 1 / speed.

For each `--prompts` a run of `--rounds` rounds. Out: seconds of a round by stage, idle GPU time, prompts an hour, and what a
fault costs. Not counted: what the base model answers before the first round, and held-out measurement.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import scene
from sleeping import HARMLESS, Log, Machine, SleepingOracle, SleepingTrainer, sleeper

from iteralign import layout
from iteralign.errors import TrainingError
from iteralign.records import Sampling
from iteralign.runs.build import build_model
from iteralign.runs.progress import Silent
from iteralign.runs.run import run
from iteralign.settings.settings import Settings, load_settings
from iteralign.targets.cluster import ClusterTarget
from iteralign.targets.ray_pool import RayPool

STAGES = {
    layout.RESPONSES: "answering",
    layout.VERDICTS: "judging",
    layout.PROPOSALS: "proposing",
    layout.DISTINCT: "proposing",
    layout.TRIED: "trying",
    layout.REVISIONS: "answering again",
    layout.CHECKPOINT: "training",
}
NAMES = (*dict.fromkeys(STAGES.values()), "all else")
_ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_ALONE |= {"RAY_raylet_start_wait_time_s": "300"}  # on a busy machine


class Stages(Silent):
    """Seconds by round and stage, from the first round on."""

    def __init__(self) -> None:
        self.seconds: defaultdict[tuple[int, str], float] = defaultdict(float)
        self.begin = self.end = self.processor = 0.0

    @contextlib.contextmanager
    def stage(self, round_number: int | None, rounds: int, stage: str) -> Iterator[None]:
        """Around a stage that is computed."""
        begin = time.time()
        if round_number is not None and not self.begin:
            self.begin, self.processor = begin, time.process_time()
        yield
        if round_number is not None:
            if self.end:
                self.seconds[round_number, "all else"] += begin - self.end
            self.end = time.time()
            name = STAGES.get(layout.stage_named(stage) or layout.GROWN, "all else")
            self.seconds[round_number, name] += self.end - begin


def a_round(seconds: Mapping[tuple[int, str], float], speed: float) -> dict[str, float]:
    """Of the machine's time, by stage: the mean over the rounds."""
    rounds = len({number for number, _ in seconds})
    return {name: sum(took for (_, stage), took in seconds.items() if stage == name) * speed / rounds for name in NAMES}


@contextlib.contextmanager
def ray_with(gpus: int) -> Iterator[None]:
    """Ray for this process alone, told that there are so many GPUs."""
    if "ray" not in sys.modules:  # which reads them when it is imported
        os.environ.update(_ALONE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    import ray

    how: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_gpus=gpus, num_cpus=max(2, gpus), object_store_memory=256 * 2**20, **how)
    try:
        yield
    finally:
        ray.shutdown()


def settings_of(machine: Machine, prompts: int, place: Path, other: Sequence[str]) -> Settings:
    """Of a run with so many prompts a round; `other`: settings as on the command line."""
    cluster = {"address": "local", "replicas": machine.replicas, "tensor_parallel": machine.tensor_parallel}
    return load_settings(
        {
            "model": {"path": "demo", "dtype": "float32"} | ({"engine": "vllm"} if machine.tensor_parallel > 1 else {}),
            "data": {"prompts": str(place / "questions.txt"), "held_out": 0.0, "benign": str(place / "benign.txt")}
            | {"benign_held_out": 0.0},
            "oracle": {"kind": "rules"},
            "rounds": {"prompts": prompts},
            "sampling": {"max_new_tokens": machine.most_tokens},
            "measure": {"capability": None},
            "cluster": cluster | {"restarts": 1000},
        },
        other,
    )


def simulate(
    machine: Machine, sizes: Sequence[int], rounds: int, speed: float, other: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """One run for each number of prompts a round, all by the same replicas."""
    with tempfile.TemporaryDirectory() as scratch, ray_with(machine.gpus if machine.on_gpus else 0):
        place, logs = Path(scratch), Path(scratch) / "logs"
        logs.mkdir()
        (place / "benign.txt").write_text("".join(f"How is {HARMLESS} baked in town {n}?\n" for n in range(100)))
        run_dir = place / "run"
        settings = settings_of(machine, sizes[0], place, other)
        model = build_model(settings, run_dir)
        target = ClusterTarget(
            model, RayPool(settings.cluster, settings.model.device), partial(sleeper, machine, logs, speed)
        )
        target.check()
        target.generate([f"gather {machine.replicas}"] * machine.replicas, Sampling(max_new_tokens=1))
        try:
            for prompts in sizes:
                (place / "questions.txt").write_text("\n".join(scene.questions(rounds * prompts)))
                yield one(machine, settings_of(machine, prompts, place, other), target, run_dir, logs, speed)
                shutil.rmtree(run_dir)
        finally:
            target.close()


def one(
    machine: Machine, settings: Settings, target: ClusterTarget, run_dir: Path, logs: Path, speed: float
) -> dict[str, Any]:
    """A run, gone on with after each fault of its training."""
    stages = Stages()
    given: dict[str, Any] = {
        "target": target,
        "oracle": SleepingOracle(machine, speed),
        "trainer": SleepingTrainer(run_dir, machine, Log(logs, speed)),
        "progress": stages,
    }
    while True:
        try:
            outcome = run(settings, run_dir, **given)
            break
        except TrainingError:
            continue
    processor = time.process_time() - stages.processor
    seconds = (stages.end - stages.begin) * speed
    rounds = [row for row in outcome.metrics if row.round >= 0]
    asked = sum(row.prompts for row in rounds)
    busy: defaultdict[str, float] = defaultdict(float)
    faults = 0
    for line in (json.loads(line) for file in logs.glob("*.jsonl") for line in file.read_text().splitlines()):
        if stages.begin <= line["begin"] <= stages.end:
            busy[line["what"]] += line["seconds"] * line["gpus"]
            faults += line["what"] == "broken off"
    whole = machine.gpus * seconds
    return {
        "prompts": settings.rounds.prompts,
        "rounds": len(rounds),
        "trained": sum(row.trained for row in rounds),
        "failed": sum(row.failures for row in rounds) / asked,
        "seconds": seconds / len(rounds),
        "stages": a_round(stages.seconds, speed),
        "busy": {what: share / whole for what, share in sorted(busy.items())},
        "idle": 1 - (busy["answering"] + busy["training"]) / whole,
        "prompts_an_hour": asked / seconds * 3600,
        "faults": faults,
        "gpu_seconds_a_fault": (busy["broken off"] + busy["starting"]) / faults if faults else None,
        "driver": processor / (seconds / speed),
    }


def told(found: dict[str, Any]) -> str:
    """A line of the table."""
    stages = " ".join(f"{found['stages'][name]:9.1f}" for name in NAMES)
    fault = f"{found['gpu_seconds_a_fault']:8.0f} x {found['faults']}" if found["faults"] else "       -"
    numbers = f"{found['idle']:6.0%} {found['prompts_an_hour']:10,.0f} {fault}  {found['driver']:.0%}"
    return f"{found['prompts']:7} {found['seconds']:7.1f} {stages} {numbers}"


def machine_of(given: argparse.Namespace) -> Machine:
    """As the command line says."""
    return Machine(**{one.name: getattr(given, one.name) for one in dataclasses.fields(Machine)})


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """With an option for each number of the machine."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for one in dataclasses.fields(Machine):
        option, says = f"--{one.name.replace('_', '-')}", one.metadata["says"]
        if isinstance(one.default, bool):
            parser.add_argument(option, default=one.default, action=argparse.BooleanOptionalAction, help=says)
        elif isinstance(one.default, tuple):
            parser.add_argument(option, default=one.default, type=float, nargs="+", help=says)
        else:
            kind = int if isinstance(one.default, int) else float
            parser.add_argument(option, default=one.default, type=kind, help=f"{says} ({one.default})")
    return parser


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--prompts", type=int, nargs="+", default=[20, 100, 400, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    machine = machine_of(given)
    print("prompts  s round", " ".join(f"{name[:9]:>9}" for name in NAMES), "  idle prompts/h  GPU s a fault  driver")
    rows = []
    for found in simulate(machine, given.prompts, given.rounds, given.speed):
        print(told(found), flush=True)
        rows.append(found)
    if given.output is not None:
        record = {"machine": dataclasses.asdict(machine), "speed": given.speed, "rows": rows}
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(record | {"surroundings": scene.surroundings()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
