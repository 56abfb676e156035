"""A run with look-ahead beside the same run without, where rounds fail at given rates: time, waste, equal files.

    python benchmarks/lookahead.py [--rates 0.9 0.5 0.1] [--rounds 30 40 80] [--draws 3] [--order file] [-o results.json]

Which rounds fail decides much where few do: at a rate of 0.01, 200 rounds have just 2 that fail. So each rate is measured
in several draws, each with so many failing rounds as the rate says, at other places. The answers name the weights that they
come from, so that an answer of weights which have changed since would show in the files.

The loop, the run directory, the look-ahead and the pool of oracle calls are the real ones; model, oracle and trainer
take their time by sleeping: a round of 20 answers 2 s, a further round in the same block `--further` of that, a verdict
0.5 s, a proposal 2 s, a training 11.4 s, all divided by `--speed`. A target whose blocks cost as much as their rounds is
`--further 1`. Writing a round's files takes real time, 0.006 to 0.05 s by the disk, which `--speed` multiplies:
where rounds rarely fail and a round is short, take a low one. The bound on verdicts bought in vain is the default one.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import scene

from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.interfaces import never
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Generation, Label, Response, Sampling, TrainingExample, Verdict
from iteralign.runs.parts import Parts
from iteralign.runs.run import start_run
from iteralign.settings.settings import Settings, load_settings

ROUND, VERDICT, PROPOSAL, TRAINING = 2.0, 0.5, 2.0, 11.4


class SlowTarget(FakeTarget):
    """Takes time by the size of a block; told to stop, it does within a hundredth of it."""

    can_stop = True

    def __init__(self, answer: Callable[[str, Checkpoint], str], further: float, speed: float) -> None:
        super().__init__(answer)
        self.further, self.speed = further, speed

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        rounds = len(inputs) / scene.GROUP
        seconds = ROUND * (1 + self.further * (rounds - 1) if rounds > 1 else 1) / self.speed
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if stop():
                return
            time.sleep(min(seconds / 100, max(0.0, end - time.perf_counter())))
        yield from enumerate(super().generate(inputs, sampling))

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        return [generation for _, generation in self.stream(inputs, sampling)]


class SlowOracle(FakeOracle):
    """Each call takes its time; many at once."""

    concurrency = 512

    def __init__(self, speed: float) -> None:
        super().__init__(declines)
        self.speed = speed

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        time.sleep(VERDICT / self.speed)
        return super().judge(responses)

    def propose(self, *given: Any) -> Any:
        time.sleep(PROPOSAL / self.speed)
        return super().propose(*given)


class SlowTrainer(FakeTrainer):
    def __init__(self, root: Path, speed: float) -> None:
        super().__init__(root)
        self.speed = speed

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        time.sleep(TRAINING / self.speed)
        return super().finetune(start, examples, directory, round_number)


def fails_in(rounds: set[int]) -> Callable[[str, Checkpoint], str]:
    """One of the answers complies in each of these rounds, until it is given a principle."""

    def answer(text: str, checkpoint: Checkpoint) -> str:
        number = int(text.split("thing ")[1].split()[0].rstrip("?"))
        complies = number // scene.GROUP in rounds and number % scene.GROUP == 7 and "principles" not in text.lower()
        return f"{COMPLIES if complies else DECLINES} ({checkpoint.path})"

    return answer


def declines(response: Response) -> Label:
    return "acceptable" if response.text.startswith(DECLINES) else "unacceptable"


def one(settings: Settings, path: Path, failing: set[int], further: float, speed: float) -> dict[str, Any]:
    """Seconds of the run (as they would be without `speed`), judged answers, number of rounds that failed."""
    oracle = SlowOracle(speed)
    target = SlowTarget(fails_in(failing), further, speed)
    base = Checkpoint(kind="base", path="base")
    parts = Parts(target, oracle, SlowTrainer(path, speed), prompt_form("plain"), base)
    begin = time.perf_counter()
    outcome = start_run(settings, path, parts=parts)
    failed = sum(row.failures > 0 for row in outcome.metrics)
    return {"seconds": (time.perf_counter() - begin) * speed, "judged": len(oracle.judged), "failed": failed}


def files(directory: Path) -> dict[str, bytes]:
    """All that both runs must have the same."""
    apart = {
        "timings.jsonl",
        "manifest.jsonl",
        "attempts.jsonl",
        ".lock",
        "config.yaml",
        "environment.json",
        "report.html",
    }
    found = (path for path in directory.rglob("*") if path.is_file() and path.name not in apart)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def compare(failing: set[int], rounds: int, further: float, speed: float, order: str) -> dict[str, Any]:
    """Both runs, with these rounds failing; in another order than the file's, so many rounds or fewer."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        prompts = place / "questions.txt"
        prompts.write_text("".join(f"{question}\n" for question in scene.questions(rounds * scene.GROUP)))
        values = {
            "model": {"path": "demo"},
            "data": {"prompts": str(prompts), "held_out": 0.0, "benign": None},
            "oracle": {"kind": "rules"},
            "measure": {"every": 10**6},
            "redteam": {"order": order},
        }
        without = one(load_settings(values, ["lookahead.rounds=1"]), place / "without", failing, further, speed)
        ahead = one(load_settings(values), place / "with", failing, further, speed)
        same = files(place / "without") == files(place / "with")
    if order == "file" and without["failed"] != len(failing):
        raise SystemExit(f"{without['failed']} rounds failed where {len(failing)} should have")
    return {
        "faster": without["seconds"] / ahead["seconds"],
        "wasted": 1 - without["judged"] / ahead["judged"],
        "seconds_per_round": ahead["seconds"] / rounds,
        "same": same,
    }


def measure(rate: float, rounds: int, draws: int, further: float, speed: float, order: str) -> dict[str, Any]:
    """All draws of one rate."""
    failing = round(rate * rounds)
    found = [
        compare(set(random.Random(draw).sample(range(rounds), failing)), rounds, further, speed, order)
        for draw in range(draws)
    ]
    return {
        "further": further,
        "order": order,
        "rate": rate,
        "rounds": rounds,
        "failing": failing,
        "faster": statistics.mean(draw["faster"] for draw in found),
        "wasted": statistics.mean(draw["wasted"] for draw in found),
        "same": all(draw["same"] for draw in found),
        "draws": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, nargs="+", default=[30, 40, 80], help="one number for each rate")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.9, 0.5, 0.1])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--further", type=float, default=0.15)
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--order", choices=("file", "shuffled", "seeking"), default="file")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    rows = []
    print("further  rounds  failing  faster  (draws)  verdicts in vain  same files")
    for rate, rounds in zip(given.rates, given.rounds, strict=True):
        row = measure(rate, rounds, given.draws, given.further, given.speed, given.order)
        rows.append(row)
        each = " ".join(f"{draw['faster']:.2f}" for draw in row["draws"])
        print(
            f"{given.further:7.2f}{rounds:8}{row['failing']:9}{row['faster']:8.2f}  ({each})  "
            f"{row['wasted']:.1%}  {row['same']}",
            flush=True,
        )
    if given.output is not None:
        arguments = {"draws": given.draws, "speed": given.speed}
        record = {"arguments": arguments, "rows": rows, "surroundings": scene.surroundings()}
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
