"""Change files of a run in every way that an accident or a careless hand does, and see whether `iteralign verify` notices.

    python tests/integrity/corruption.py --changes 500 [--seed 0]        (`make torture`)

Half of the changes are made to a finished run, half to one that was interrupted twice. Each is one byte
flipped, a cut at a line's end or anywhere, an emptied or a deleted file, two files swapped, or in weights a tensor zeroed,
renamed, taken away or made NaN. All files take part but for `.lock`, which has no content. It also measures what the
manifest costs: its share of the run's processor time.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iteralign.integrity.verify import verify_run
from iteralign.rundir.manifest import Manifest
from iteralign.runs.progress import Silent
from iteralign.runs.run import resume_run, start_run
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.settings.settings import load_settings

SETTINGS: dict[str, Any] = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 20, "held_out": 0.4, "benign_limit": 10},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4},
    "sampling": {"max_new_tokens": 8},
    "training": {"epochs": 1, "min_benign": 2, "max_length": 256, "lora_r": 2},
    "threads": 1,
}

Change = Callable[[Path, random.Random], bool]
"""Makes a change; False where this file can't be changed so."""


class Interrupts(Silent):
    """Ctrl-C when a round is done."""

    def __init__(self, number: int) -> None:
        self.number = number

    def round_done(self, metrics: RoundMetrics, rounds: int) -> None:
        if metrics.round == self.number:
            raise KeyboardInterrupt


@dataclass
class Report:
    """What a campaign did."""

    made: Counter[str] = field(default_factory=Counter)
    unnoticed: list[str] = field(default_factory=list)


def flip(path: Path, draw: random.Random) -> bool:
    data = bytearray(path.read_bytes())
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    return bool(data)


def cut_at_a_line(path: Path, draw: random.Random) -> bool:
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data[:-1]) if byte == 10]
    if ends:
        path.write_bytes(data[: draw.choice(ends)])
    return bool(ends)


def cut_anywhere(path: Path, draw: random.Random) -> bool:
    data = path.read_bytes()
    if data:
        path.write_bytes(data[: draw.randrange(len(data))])
    return bool(data)


def empty(path: Path, draw: random.Random) -> bool:
    had = path.stat().st_size > 0
    path.write_bytes(b"")
    return had


def delete(path: Path, draw: random.Random) -> bool:
    path.unlink()
    return True


def swap(path: Path, draw: random.Random) -> bool:
    """With another file of its name, such as another round's, or of its directory."""
    run = next(place for place in path.parents if (place / "config.yaml").exists())
    others = [other for other in [*run.rglob(path.name), *path.parent.iterdir()] if other.is_file()]
    other = draw.choice([one for one in others if one.name != ".lock"])
    mine, its = path.read_bytes(), other.read_bytes()
    path.write_bytes(its)
    other.write_bytes(mine)
    return mine != its


def tensors(path: Path, draw: random.Random) -> bool:
    """The file stays a valid safetensors file: nothing but its hash can tell."""
    import torch
    from safetensors.torch import load_file, save_file

    if path.suffix != ".safetensors":
        return False
    state = load_file(path)
    name = draw.choice(sorted(state))
    value = state.pop(name)
    match draw.choice(["zeroed", "renamed", "away", "nan"]):
        case "zeroed":
            state[name] = torch.zeros_like(value)
        case "renamed":
            state[f"{name}.x"] = value
        case "nan":
            state[name] = torch.full_like(value, torch.nan)
    before = path.read_bytes()
    save_file(state, path, metadata={"format": "pt"})
    return path.read_bytes() != before


def setting(path: Path, draw: random.Random) -> bool:
    """A number in a JSON file of the weights, such as lora_alpha."""
    if path.name not in ("adapter_config.json", "config.json"):
        return False
    values = json.loads(path.read_text())
    name = draw.choice(sorted(key for key, value in values.items() if isinstance(value, int)))
    path.write_text(json.dumps(values | {name: values[name] + 1}))
    return True


CHANGES: tuple[Change, ...] = (flip, cut_at_a_line, cut_anywhere, empty, delete, swap, tensors, setting)


def snapshot(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file() and path.name != ".lock"}


def restore(run: Path, whole: dict[Path, bytes]) -> None:
    for path, data in whole.items():
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


def campaign(run: Path, changes: int, seed: int) -> Report:
    """`changes` random ones in `run`, each noticed or not, and undone again."""
    assert verify_run(run).problems == []
    report, draw, whole = Report(), random.Random(seed), snapshot(run)
    files = list(whole)
    while report.made.total() < changes:
        # By turns: all files have their share, and so do weights, which only some changes fit.
        change = CHANGES[report.made.total() % len(CHANGES)]
        path = draw.choice(files)
        if not change(path, draw):
            restore(run, whole)
            continue
        report.made[change.__name__] += 1
        if verify_run(run).good:
            report.unnoticed.append(f"{change.__name__} {path.relative_to(run)}")
        restore(run, whole)
    assert verify_run(run).problems == []
    return report


@contextmanager
def timed() -> Iterator[list[float]]:
    """Processor seconds of the manifest's own work and of everything, in this order, at the end."""
    spent, seconds = [0.0], list[float]()
    kept = {name: getattr(Manifest, name) for name in ("add", "faults", "left", "unsure", "found")}
    inside = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal inside
            begin, inside = time.process_time(), inside + 1
            try:
                result = method(*arguments, **named)
                return list(result) if isinstance(result, Iterator) else result
            finally:
                inside -= 1
                spent[0] += time.process_time() - begin if not inside else 0.0

        return call

    for name, method in kept.items():
        setattr(Manifest, name, counted(method))
    begin = time.process_time()
    try:
        yield seconds
    finally:
        seconds += [spent[0], time.process_time() - begin]
        for name, method in kept.items():
            setattr(Manifest, name, method)


def finished_run(place: Path) -> Path:
    start_run(load_settings(SETTINGS), place)
    return place


def interrupted_run(place: Path) -> Path:
    """Twice interrupted, so that its manifest tells of two processes."""
    with suppress(KeyboardInterrupt):
        start_run(load_settings(SETTINGS), place, progress=Interrupts(0))
    with suppress(KeyboardInterrupt):
        resume_run(place, progress=Interrupts(1))
    return place


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Change files of a run, and see whether verify notices.")
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="iteralign-corruption-") as name:
        with timed() as seconds:
            finished = finished_run(Path(name) / "finished")
        runs = {"finished": finished, "interrupted": interrupted_run(Path(name) / "interrupted")}
        for what, run in runs.items():
            report = campaign(run, chosen.changes // 2, chosen.seed)
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.made.items()))
            noticed = report.made.total() - len(report.unnoticed)
            print(f"{what} run, seed {chosen.seed}: {noticed} of {report.made.total()} changes noticed ({kinds})")
            unnoticed += report.unnoticed
    for line in unnoticed:
        print("    unnoticed:", line)
    print(
        f"the manifest took {seconds[0]:.3f} s of {seconds[1]:.1f} s of processor time: {seconds[0] / seconds[1]:.2%}"
    )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
