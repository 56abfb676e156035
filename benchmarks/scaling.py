"""How a run's cost grows with the number of prompts, and what the command line takes to start.

    python benchmarks/scaling.py [--prompts 200 2000 20000] [--failing 0.012] [-o results.json]

Model, oracle and trainer are iteralign's public fakes, which take next to no time, so that what is measured is iteralign:
settings, prompts, loop, records, run directory, look-ahead. For each size, in processes of their own: the run, the same
finished run resumed, and the commands `status`, `plan` and `report`; seconds by the clock and of the processor, peak memory,
files. With the usual share of failing prompts one in five rounds trains, with 0.0015 three in a hundred; each of these
rounds adopts a principle of its own. A tenth of the prompts is held out and measured after every tenth training.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scene


def run(place: Path, failing: float) -> None:
    """The run, or what is left of it."""
    from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
    from iteralign.prompts.forms import prompt_form
    from iteralign.records import Checkpoint, Generation, Principle, Response, Sampling, Verdict
    from iteralign.runs.parts import Parts
    from iteralign.runs.run import resume_run, start_run
    from iteralign.settings.settings import load_settings

    def answer(text: str, checkpoint: Checkpoint) -> str:
        draw = int.from_bytes(hashlib.sha256(f"{checkpoint.path} {text}".encode()).digest()[:4])
        return COMPLIES if "principles" not in text.lower() and draw < failing * 2**32 else DECLINES

    class Proposer(FakeOracle):
        def propose(
            self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
        ) -> list[Principle]:
            evidence = tuple(failure.response.prompt.id for failure in failures)
            words = hashlib.sha256(evidence[0].encode()).hexdigest()
            subject = " ".join(words[place : place + 6] for place in range(0, 48, 6))
            return [Principle(id="", text=f"Do not help with {subject}.", round=0, evidence=evidence)]

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            self.judged.clear()  # what was asked is not to be kept: its memory is none of iteralign's
            return super().judge(responses)

    class Target(FakeTarget):
        def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
            self.calls.clear()
            return super().generate(inputs, sampling)

    base = Checkpoint(kind="base", path="base")
    parts = Parts(Target(answer), Proposer(), FakeTrainer(place / "run"), prompt_form("plain"), base)
    if (place / "run").exists():
        resume_run(place / "run", parts=parts)
    else:
        start_run(load_settings(place / "config.yaml"), place / "run", parts=parts)


def prepare(place: Path, prompts: int) -> None:
    """The questions, and the settings that name them."""
    questions = place / "questions.txt"
    questions.write_text("".join(f"{question}\n" for question in scene.questions(prompts)))
    values = {
        "model": {"path": "demo"},
        "data": {"prompts": str(questions), "held_out": 0.1, "held_out_limit": 100, "benign": None},
        "oracle": {"kind": "rules"},
        "measure": {"every": 10},
    }
    (place / "config.yaml").write_text(json.dumps(values))


def timed(*command: str) -> dict[str, float]:
    """A command's seconds by the clock and of the processor, and its peak memory."""
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read().decode(errors='replace')}")
    return {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def measured(prompts: int, failing: float, place: Path) -> dict[str, Any]:
    """One size."""
    prepare(place, prompts)
    ours = (sys.executable, __file__, "--one", str(place), "--failing", str(failing))
    iteralign = (sys.executable, "-m", "iteralign")
    run_dir = str(place / "run")
    commands = {
        "run": ours,
        "resume": ours,
        "status": (*iteralign, "status", run_dir),
        "report": (*iteralign, "report", run_dir),
        "plan": (*iteralign, "plan", str(place / "config.yaml")),
    }
    found: dict[str, Any] = {"prompts": prompts}
    for name, command in commands.items():
        found[name] = one = timed(*command)
        numbers = f"{one['seconds']:7.2f} s, {one['cpu_seconds']:7.2f} s CPU, peak {one['peak_mb']:5.0f} MB"
        print(f"{prompts:7} prompts: {name:7} {numbers}", flush=True)
    files = [path for path in (place / "run").rglob("*") if path.is_file()]
    found["files"], found["bytes"] = len(files), sum(path.stat().st_size for path in files)
    found["rounds"] = len(list((place / "run" / "rounds").iterdir()))
    found["trained"] = len(list((place / "run" / "rounds").glob("*/6_checkpoint.json")))
    print(f"{prompts:7} prompts: {len(files):,} files, {found['bytes'] / 1e6:.0f} MB", flush=True)
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
    parser.add_argument("--failing", type=float, default=0.012, help="share of the prompts that fail at first")
    parser.add_argument("--add", action="store_true", help="to the sizes that the results have already")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run(given.one, given.failing)
        return
    sizes = []
    for count in given.prompts:
        with tempfile.TemporaryDirectory() as scratch:
            sizes.append(measured(count, given.failing, Path(scratch)))
    if given.add and given.output is not None and given.output.exists():
        sizes = json.loads(given.output.read_text())["sizes"] + sizes
    record = {"start_up": start_up(), "failing": given.failing, "sizes": sizes, "surroundings": scene.surroundings()}
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
