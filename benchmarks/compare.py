"""iteralign beside the released procedure and beside the bound, in one run: same model, prompts, oracle and steps.

    python benchmarks/compare.py [--rounds 5] [--padding 4096] [--judge 0.5] [--propose 2] [-o results.json]

Each procedure runs in a process of its own, on one thread, one after the other. The bound is what the same tokens, steps
and dependent oracle calls cost at least, each measured in this run: generated tokens at the best rate found over batch
sizes with all prompts at hand, the arithmetic of the same optimiser steps in a bare loop over rows padded to the longest
of their batch, one latency for each call that depends on the one before, one start of a process that imports torch.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import scene

STAGES = {
    "1_responses": "answering",
    "2_verdicts": "judging",
    "3a_proposals": "proposing",
    "3_principles": "proposing",
    "4_revisions": "answering again",
    "5_examples": "training",
    "6_checkpoint": "training",
}


class StageClock(scene.Clock):
    """Implements `iteralign.runs.progress.Progress`."""

    def stage(self, round_number: int | None, rounds: int, stage: str) -> contextlib.AbstractContextManager[None]:
        """Around a stage that is computed."""
        return self("all else" if round_number is None else STAGES.get(stage, "all else"))

    def advance(self, work: object) -> None:
        """Nothing."""

    def spending(self, spent: object) -> None:
        """Nothing."""

    def round_done(self, metrics: object, rounds: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def settings(model: Path, url: str, prompts: Path, rounds: int, method: str = "full") -> dict[str, Any]:
    """A run with the released code's numbers, one try per failure and no replay, so that the steps are the same."""
    endpoint = {"model": "simulated", "base_url": url, "concurrency": 32}
    return {
        "model": {"path": str(model), "device": "cpu", "dtype": "float32"},
        "data": {"prompts": str(prompts), "held_out": 0.0, "benign": None},
        "oracle": {"kind": "openai", "judge": endpoint, "cache": False},
        "rounds": {"prompts": scene.GROUP, "limit": rounds},
        "sampling": scene.SAMPLING,
        "constitution": {"doubles": False, "gate": {"enabled": False}},
        "revision": {"tries": 1},
        "measure": {"every": 10**6, "capability": None},
        "training": {**scene.TRAINING, "method": method, "max_length": 4096, "replay": 0.0, "min_replay": 0}
        | {"benign_share": 0.0, "min_benign": 0},
        "threads": 1,
    }


def ours(model: Path, url: str, out: Path, rounds: int) -> dict[str, Any]:
    """A run of iteralign; seconds by stage."""
    clock = StageClock()
    with clock("start"):
        import torch
        import transformers  # noqa: F401
        import trl.trainer.sft_trainer  # noqa: F401

        from iteralign.records import Checkpoint, TrainingExample
        from iteralign.rundir.jsonl import read_records
        from iteralign.runs.run import start_run
        from iteralign.settings.settings import load_settings

    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    prompts = out.parent / "questions.txt"
    prompts.write_text("".join(f"{question}\n" for question in scene.questions(rounds * scene.GROUP)))
    whole = scene.Clock()
    with whole("run"):
        start_run(load_settings(settings(model, url, prompts, rounds)), out, progress=clock)
    for run, stages in ((whole.seconds, clock.seconds), (whole.cpu_seconds, clock.cpu_seconds)):
        stages["all else"] = stages.get("all else", 0.0) + run["run"] + stages["start"] - sum(stages.values())
    steps = rows = 0
    for path in sorted(out.glob("rounds/*/6_checkpoint.json")):
        checkpoint = Checkpoint.model_validate_json(path.read_text())
        steps += checkpoint.steps
        rows += len(read_records(path.parent / "5_examples.jsonl", TrainingExample))
    return {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds, "steps": steps, "rows": rows}


def bound(model: Path, run: Path, judge: float, propose: float) -> dict[str, Any]:
    """What the run's tokens, steps and dependent calls cost at least."""
    clock = scene.Clock()
    with clock("start"):
        import torch
        import transformers  # noqa: F401
        import trl.trainer.sft_trainer  # noqa: F401

        from iteralign.records import Response, Revision, Sampling, TrainingExample
        from iteralign.rundir.jsonl import read_records
        from iteralign.trainers.rows import make_rows
        from iteralign.weights.model import LocalModel

    torch.set_num_threads(1)
    rounds = sorted(run.glob("rounds/*"))
    paths = [path for path in rounds if (path / "6_checkpoint.json").exists()]
    responses = [row for path in rounds for row in read_records(path / "1_responses.jsonl", Response)]
    revised = [row.response for path in paths for row in read_records(path / "4_revisions.jsonl", Revision)]
    local = LocalModel(str(model), root=run, device="cpu", dtype="float32")
    local.at(local.base)
    sampling = Sampling(**scene.SAMPLING | {"stop": tuple(scene.SAMPLING["stop"])})
    for name, asked in (("answering", responses), ("answering again", revised)):
        for place, seconds in zip((clock.seconds, clock.cpu_seconds), best_rates(local, asked, sampling), strict=True):
            place[name] = sum(row.tokens for row in asked) / seconds
    waiting = {"judging": judge * len(rounds), "proposing": propose * len(paths), "judging again": judge * len(paths)}
    clock.seconds |= waiting
    network = local.network(local.base)
    every = [make_rows(local, read_records(path / "5_examples.jsonl", TrainingExample), 4096) for path in paths]
    bare_training(network, every[0][:8])
    with clock("training"):
        steps = sum(bare_training(network, rows) for rows in every)
    return {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds, "steps": steps}


def best_rates(local: Any, asked: list[Any], sampling: Any) -> tuple[float, float]:
    """Generated tokens per second of wall and of CPU time, the best over batch sizes."""
    from iteralign.targets.transformers import TransformersTarget

    rates = []
    for size in (16, 32, 64):
        clock = scene.Clock()
        with clock("all"):
            target = TransformersTarget(local, batch_size=size, batch_tokens=10**6)
            tokens = sum(generation.tokens for generation in target.generate([row.input for row in asked], sampling))
        rates.append((tokens / clock.seconds["all"], tokens / clock.cpu_seconds["all"]))
    return max(wall for wall, _ in rates), max(cpu for _, cpu in rates)


def bare_training(network: Any, rows: list[Any]) -> int:
    """Forward, backward and AdamW for each batch, and nothing else."""
    import torch

    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=scene.TRAINING["learning_rate"], fused=True)
    size = scene.TRAINING["batch_size"]
    steps = 0
    for _ in range(scene.TRAINING["epochs"]):
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            width = max(len(row.input_ids) for row in batch)
            ids = torch.tensor([row.input_ids + [0] * (width - len(row.input_ids)) for row in batch])
            labels = torch.tensor([row.labels + [-100] * (width - len(row.labels)) for row in batch])
            mask = torch.tensor([[1] * len(row.input_ids) + [0] * (width - len(row.input_ids)) for row in batch])
            network(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
    network.eval()
    return steps


def child(*arguments: object) -> dict[str, Any]:
    """What a process of one procedure prints last, with its wall and CPU time."""
    begin, before = time.perf_counter(), os.times()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    wall = time.perf_counter() - begin
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed | {"wall": wall, "cpu": cpu}


def compare(rounds: int, padding: int, judge: float, propose: float, rate: float) -> dict[str, Any]:
    """All procedures, one after the other."""
    here = Path(__file__).parent
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        model = scene.write_model(place / "model")
        with scene.oracle(judge, propose, rate) as url:
            found["iteralign"] = child(
                __file__, "--part", "ours", model, url, place / "ours" / "run", "--rounds", rounds
            )
            found["iteralign"]["oracle"] = counted(url)
        with scene.oracle(judge, propose, rate) as url:
            words: tuple[object, ...] = ("--rounds", rounds, "--padding", padding)
            found["released"] = child(here / "released.py", model, url, place / "released", *words)
            found["released"]["oracle"] = counted(url)
        words = ("--judge", judge, "--propose", propose)
        found["bound"] = child(__file__, "--part", "bound", model, "-", place / "ours" / "run", *words)
    return found


def counted(url: str) -> dict[str, int]:
    """What the oracle has counted."""
    with urllib.request.urlopen(url) as reply:
        return dict(json.load(reply))


def table(found: dict[str, Any], clock: str) -> str:
    """Stage by stage: seconds of this clock, and ratios.

    iteralign asks for verdicts while it generates, so that what is left of the wait for the revisions' verdicts stands
    under "answering again".
    """
    names = ["start", "loading", "answering", "judging", "proposing", "answering again", "judging again", "training"]
    lines = [f"{clock:18}{'released':>10}{'iteralign':>11}{'bound':>9}{'rel/iter':>10}{'iter/bound':>12}"]
    parts = [found[who][clock] for who in ("released", "iteralign", "bound")]
    rows = [(name, *(part.get(name, 0.0) for part in parts)) for name in [*names, "all else"]]
    for name, released, own, least in [*rows, ("total", *(sum(part.values()) for part in parts))]:
        ratios = (f"{released / own:.2f}" if own else "", f"{own / least:.2f}" if own and least else "")
        lines.append(f"{name:18}{released:10.2f}{own:11.2f}{least:9.2f}{ratios[0]:>10}{ratios[1]:>12}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--padding", type=int, default=0, help="rows of the released procedure; 4096 is what it does")
    parser.add_argument("--judge", type=float, default=0.5)
    parser.add_argument("--propose", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=0.47, help="share of first answers that fail")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--part", choices=["ours", "bound"], help=argparse.SUPPRESS)
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "ours":
        model, url, out = given.places
        print(json.dumps(ours(Path(model), url, Path(out), given.rounds)))
    elif given.part == "bound":
        model, _, run = given.places
        print(json.dumps(bound(Path(model), Path(run), given.judge, given.propose)))
    else:
        found = compare(given.rounds, given.padding, given.judge, given.propose, given.rate)
        print(table(found, "seconds"), table(found, "cpu_seconds"), sep="\n\n")
        arguments = {"rounds": given.rounds, "padding": given.padding, "judge": given.judge, "propose": given.propose}
        print(
            json.dumps(
                {name: {k: part.get(k) for k in ("steps", "rows", "oracle", "cpu")} for name, part in found.items()}
            )
        )
        if given.output is not None:
            record = {"arguments": arguments, "parts": found, "surroundings": scene.surroundings()}
            given.output.parent.mkdir(parents=True, exist_ok=True)
            given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
