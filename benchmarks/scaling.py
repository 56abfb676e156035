"""How a run's cost grows with the number of prompts, and what the command line takes to start.

    python benchmarks/scaling.py [--prompts 200 2000 20000] [-o results.json]

Model, oracle and trainer are iteralign's public fakes, which take next to no time, so that what is measured is iteralign:
settings, prompts, loop, records, run directory, look-ahead. CPU time and peak memory of a process for each size. One in
five rounds trains; a tenth of the prompts is held out and measured after every tenth training.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import scene


def run(prompts: int, place: Path) -> dict[str, float]:
    """One run in this process."""
    import hashlib

    from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
    from iteralign.prompts.forms import prompt_form
    from iteralign.records import Checkpoint
    from iteralign.runs.parts import Parts
    from iteralign.runs.run import resume_run, start_run
    from iteralign.settings.settings import load_settings

    def answer(text: str, checkpoint: Checkpoint) -> str:
        draw = hashlib.sha256(f"{checkpoint.path} {text}".encode()).digest()[0]
        return COMPLIES if "principles" not in text.lower() and draw < 3 else DECLINES

    def parts() -> Parts:
        base = Checkpoint(kind="base", path="base")
        return Parts(FakeTarget(answer), FakeOracle(), FakeTrainer(place / "run"), prompt_form("plain"), base)

    questions = place / "questions.txt"
    questions.write_text("".join(f"{question}\n" for question in scene.questions(prompts)))
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": str(questions), "held_out": 0.1, "held_out_limit": 100, "benign": None},
        "oracle": {"kind": "rules"},
        "measure": {"every": 10},
    }
    before = time.process_time()
    start_run(load_settings(values), place / "run", parts=parts())
    ran = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before = time.process_time()
    resume_run(place / "run", parts=parts())
    return {"cpu_seconds": ran, "peak_mb": peak, "resume_cpu_seconds": time.process_time() - before}


def sizes(counts: list[int]) -> list[dict[str, Any]]:
    """Each size in a process of its own."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, __file__, "--one", str(count), scratch]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"prompts": count} | json.loads(done.stdout.splitlines()[-1])
        row["cpu_ms_per_prompt"] = 1000 * row["cpu_seconds"] / count
        found.append(row)
        print(
            f"{count:7} prompts: {row['cpu_seconds']:7.2f} s CPU, {row['cpu_ms_per_prompt']:6.2f} ms a prompt, "
            f"peak {row['peak_mb']:6.0f} MB; read back in {row['resume_cpu_seconds']:.2f} s",
            flush=True,
        )
    return found


def start_up(times: int = 7) -> dict[str, float]:
    """CPU seconds of `iteralign --help` and of the bare interpreter, the least of several."""
    least = {}
    for name, code in (("interpreter", "pass"), ("help", "from iteralign.cli import main; main()")):
        found = []
        for _ in range(times):
            before = os.times()
            command = [sys.executable, "-c", code, "--help"]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            after = os.times()
            found.append(after.children_user + after.children_system - before.children_user - before.children_system)
        least[name] = min(found)
    print(f"iteralign --help: {least['help'] - least['interpreter']:.2f} s CPU more than the interpreter")
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[200, 2000, 20000])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(int(given.one[0]), Path(given.one[1]))))
        return
    record = {"start_up": start_up(), "sizes": sizes(given.prompts), "surroundings": scene.surroundings()}
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
