"""Change a file of a run that kill -9 has stopped, and resume it: it is refused, or ends as if nothing had been changed.

    python tests/integrity/stopped.py --changes 500 [--seed 0]        (`make torture`)

The run is on fakes, killed right before and right after a commit.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from commands import import_once
from kill.campaign import BASE, Plan, contents, go_on, in_child, killed_at_commit

from integrity.corruption import CHANGES, setting, tensors
from iteralign.errors import IteralignError
from iteralign.fakes import FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint
from iteralign.rundir.begun import has_begun
from iteralign.runs.parts import Parts, build_parts
from iteralign.settings.settings import load_settings

FITTING = [change for change in CHANGES if change not in (tensors, setting)]  # fakes have no real weights
REFUSED = 9
"""Exit code of a process that met one of our own errors."""


def fakes_plan() -> Plan:
    """Fakes of target and trainer, judged by the rules."""
    settings = load_settings(BASE | {"oracle": {"kind": "rules"}})

    def parts(directory: Path) -> Parts:
        oracle = build_parts(settings, directory).oracle
        base = Checkpoint(kind="base", path="x")
        return Parts(FakeTarget(), oracle, FakeTrainer(directory), prompt_form("plain"), base)

    return Plan(settings, parts)


def resumed(plan: Plan, directory: Path) -> int:
    """The exit code of a process that goes on with it: 0 at the end of the run, REFUSED for one of our errors."""

    def work() -> None:
        try:
            go_on(plan, directory)
        except IteralignError:
            os._exit(REFUSED)

    return in_child(work)


def killed_runs(plan: Plan, place: Path, stride: int) -> list[Path]:
    """Runs that were killed at every `stride`-th commit, as far as they had begun."""
    found: list[Path] = []
    for commit in range(1, 1000, stride):
        for after in (False, True):
            directory = place / f"killed-{commit}-{after}"
            if in_child(killed_at_commit(lambda: go_on(plan, directory), commit, after)) == 0:  # noqa: B023
                return found
            if has_begun(directory):
                found.append(directory)
    raise AssertionError("a run with a thousand renames")


def campaign(changes: int, seed: int, stride: int = 1) -> tuple[Counter[str], list[str]]:
    """(how often each outcome, what was neither refused nor without effect) of so many changes, one a run."""
    import torch

    import_once(["transformers", "iteralign.report.html"])
    torch.set_num_threads(1)
    plan, draw = fakes_plan(), random.Random(seed)
    ends: Counter[str] = Counter()
    bad = []
    with tempfile.TemporaryDirectory(prefix="iteralign-stopped-") as name:
        place = Path(name)
        assert in_child(lambda: go_on(plan, place / "whole")) == 0
        whole, stopped = contents(place / "whole"), killed_runs(plan, place, stride)
        while ends.total() < changes:
            run, copy = draw.choice(stopped), place / "copy"
            shutil.copytree(run, copy)
            path = draw.choice(sorted(path for path in copy.rglob("*") if path.is_file() and path.name != ".lock"))
            change = FITTING[ends.total() % len(FITTING)]
            if change(path, draw):
                code = resumed(plan, copy)
                end = "refused" if code == REFUSED else "as if it had not been" if code == 0 else "bad"
                if end == "bad" or (code == 0 and contents(copy) != whole):
                    bad.append(f"{run.name}: {change.__name__} {path.relative_to(copy)}: exit code {code}")
                    end = "bad"
                ends[end] += 1
            shutil.rmtree(copy)
    return ends, bad


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Change files of killed runs, and resume them.")
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1, help="kill at every so many commits")
    chosen = parser.parse_args()
    ends, bad = campaign(chosen.changes, chosen.seed, chosen.stride)
    told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    print(f"killed runs, seed {chosen.seed}: {ends.total()} changes before resuming: {told}")
    for line in bad:
        print("    ", line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
