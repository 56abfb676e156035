"""Targets that do in a replica what a test wants: they are imported there, as the package is."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import TargetError
from iteralign.fakes import FakeTarget
from iteralign.interfaces import Target, never
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.rundir.weights import SharedWeights
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.model import LocalModel


class Acting(Target):
    """Says the text again, and by which weights. `WORD FILE` does what the word says, once: while the file is not there."""

    can_score = can_stop = True

    def __init__(self) -> None:
        self.checkpoint = Checkpoint(kind="base", path="none")

    def load(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        return [generation for _, generation in self.stream(inputs, sampling)]

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        for index, text in enumerate(inputs):
            act(text, stop)
            if stop():
                return
            said = f"{text} by {self.checkpoint.path}"
            yield index, Generation(text=said, finish="stop", prompt_tokens=1, tokens=1)

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        return [float(len(given) - len(more)) for given, more in zip(inputs, completions, strict=True)]


def act(text: str, stop: Callable[[], bool]) -> None:
    word, _, file = text.partition(" ")
    if word == "always":
        raise RuntimeError("a bug")
    if word not in ("die", "hang", "break", "raise", "wait") or Path(file).exists():
        return
    Path(file).write_text(str(os.getpid()))
    match word:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)  # another thread may take the signal, and this one goes on until that one has stopped it
        case "break":
            raise RuntimeError("the GPU has fallen off the bus")
        case "raise":
            raise TargetError("The model gives NaN.")
        case "wait":
            while not stop():
                time.sleep(0.01)


def acting(root: Path, arithmetic: Mapping[str, Any]) -> tuple[Target, Callable[[], object]]:
    return Acting(), (root / "set-aside").touch


def slow_fake(root: Path, arithmetic: Mapping[str, Any]) -> tuple[Target, Callable[[], object]]:
    """The package's fake, slow enough for faults to meet it at work."""

    def answer(text: str, checkpoint: Checkpoint) -> str:
        time.sleep(0.01)
        return FakeTarget().answer(text, checkpoint)

    return FakeTarget(answer), lambda: None


def real(path: str, root: Path, arithmetic: Mapping[str, Any]) -> tuple[Target, Callable[[], object]]:
    """The model at `path`."""
    model = LocalModel(path, root=SharedWeights(root, arithmetic), device="cpu", threads=1)
    return TransformersTarget(model), model.set_aside
