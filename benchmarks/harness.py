"""Benchmarks by lm-evaluation-harness: our reading of what many requests begin with, beside lm-eval's own model.

    python benchmarks/harness.py MODEL DATA [--limit 8] [--turns 3] [--tasks ...]

DATA holds hhh_alignment/ and TruthfulQA.csv. Each task is run in turns, on the same documents, and the scores are compared. Of
every turn the ratio of the two times is taken, and the table has their median.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lm_eval.models.huggingface import HFLM

from iteralign.evals import harness_model
from iteralign.evals.benchmarks import run_benchmarks
from iteralign.weights.model import LocalModel

TASKS = (
    "iteralign_truthfulqa_mc1_standard",
    "iteralign_truthfulqa_mc1_dromedary",
    "iteralign_hhh_dromedary",
    "iteralign_hhh_standard",
)


def plain(network: Any, tokenizer: Any, batch_size: int) -> HFLM:
    """lm-eval's own."""
    return HFLM(pretrained=network, tokenizer=tokenizer, batch_size=batch_size)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--limit", type=int, default=8, help="documents of each task")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    model = LocalModel(options.model, root=Path(), device="cpu")
    network = model.network(model.base)
    data = {"hhh": str(options.data / "hhh_alignment"), "truthfulqa": str(options.data / "TruthfulQA.csv")}

    def timed(task: str) -> tuple[float, list[float]]:
        began = time.perf_counter()
        found = run_benchmarks(
            network, model.tokenizer, [task], path=model.described_by, metadata=data, limit=options.limit
        )
        scores = [
            float(answer[0][0])
            for samples in found["samples"].values()
            for sample in samples
            for answer in sample["resps"]
        ]
        return time.perf_counter() - began, scores

    print("| task | time, of lm-eval's | largest difference of a log-probability |\n|---|---|---|", flush=True)
    for task in options.tasks:
        ratios, apart = [], 0.0
        for _ in range(options.turns):
            ours, mine = timed(task)
            with patch.object(harness_model, "SharedHeadLM", plain):
                theirs, reference = timed(task)
            ratios.append(ours / theirs)
            apart = max(apart, *(abs(one - other) for one, other in zip(mine, reference, strict=True)))
        print(f"| {task} | {statistics.median(ratios):.2f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
