"""What `dtype: auto` and `threads: null` bring on this CPU, against float32 with torch's own number of threads.

    python benchmarks/cpu.py MODEL [MODEL ...] [--rows 40] [--tokens 24] [--pairs 3] [--loads 0 1]

Each MODEL is a directory, a GGUF file or `demo`. For each load (0: the machine as it is; 1: one core kept busy by a process
that does nothing else) both choices answer the same questions greedily in turn, `--pairs` times, in one process. Tokens per
second are by the clock; the median of the pairs' ratios is what counts. Run it without OMP_NUM_THREADS, or there is nothing
to choose.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from iteralign.records import Sampling
from iteralign.runs.build import demo_model
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.hardware import available_cores
from iteralign.weights.model import LocalModel

QUESTION = "\n\nHuman: Question {}: how did the people of this town live, what did they eat and drink?\n\nAssistant:"


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """So many processes that spin, gone afterwards."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def speed(model: LocalModel, rows: int, tokens: int) -> float:
    """Generated tokens a second by the clock."""
    torch.set_num_threads(model.arithmetic.threads or torch.get_num_threads())
    target = TransformersTarget(model)
    inputs = [QUESTION.format(number) for number in range(rows)]
    target.generate(inputs[:2], Sampling(temperature=0, max_new_tokens=2))
    start = time.perf_counter()
    answers = target.generate(inputs, Sampling(temperature=0, max_new_tokens=tokens))
    return sum(answer.tokens for answer in answers) / (time.perf_counter() - start)


def compare(path: str, load: int, own: int, args: argparse.Namespace) -> None:
    """A line for one model under one load."""
    torch.set_num_threads(own)
    with busy(load):
        start = time.perf_counter()
        chosen = LocalModel(path, root=Path(), device="cpu")
        how = f"{chosen.dtype}, {chosen.arithmetic.threads} thread(s)"
        choosing = time.perf_counter() - start
        before = LocalModel(path, root=Path(), device="cpu", dtype="float32", threads=own)
        for model in (before, chosen):
            model.at(model.base)
        pairs = [
            (speed(before, args.rows, args.tokens), speed(chosen, args.rows, args.tokens)) for _ in range(args.pairs)
        ]
    ratio = statistics.median(after / first for first, after in pairs)
    first, after = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{Path(path).name:32} {'quiet' if not load else f'{load} busy':7} float32, {own} thread(s): {first:7.1f} tokens/s;"
        f"  auto ({how}): {after:7.1f};  {ratio:.2f} times;  chosen in {choosing:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--loads", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    own = torch.get_num_threads()
    print(
        f"{available_cores()} cores, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}", flush=True
    )
    for name in args.models:
        for load in args.loads:
            compare(demo_model() if name == "demo" else name, load, own, args)


if __name__ == "__main__":
    main()
