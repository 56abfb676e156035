"""What one replica of the target does, in the process of its own that Ray gives it (targets/ray_pool.py)."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from iteralign.cluster.connection import Location, here
from iteralign.interfaces import Target
from iteralign.records import Checkpoint, Generation, Sampling

Make = Callable[[], tuple[Target, Callable[[], object]]]
"""Makes a target, and what frees the GPU's memory beside its `rest`. Ray sends it to the replica's process."""


class Replica:
    """Keeps nothing that a request does not bring along, so that another can go on in its place."""

    def __init__(self, make: Make, directory: str) -> None:
        """`directory`: where relative paths begin. What may go wrong does so in `ready`, whose errors are told."""
        self._make = make
        self._directory = Path(directory)
        self._stopped: set[int] = set()

    def ready(self) -> Location:
        """Begin; returns where this is."""
        if self._directory.is_dir():
            os.chdir(self._directory)
        self._target, self._set_aside = self._make()
        return here()

    def answer(
        self, call: int, checkpoint: Checkpoint, inputs: Sequence[str], sampling: Sampling
    ) -> tuple[list[tuple[int, Generation]], float]:
        """(index, generation) of each input, of fewer once the call is stopped; and the seconds that it took."""
        begin = time.monotonic()
        self._target.load(checkpoint)
        answers = list(self._target.stream(inputs, sampling, lambda: call in self._stopped))
        return answers, time.monotonic() - begin

    def score(
        self, call: int, checkpoint: Checkpoint, inputs: Sequence[str], completions: Sequence[str]
    ) -> tuple[list[tuple[int, float]], float]:
        """The same of Target.score."""
        begin = time.monotonic()
        self._target.load(checkpoint)
        return list(enumerate(self._target.score(inputs, completions))), time.monotonic() - begin

    def rest(self) -> None:
        """Free what memory can be freed until the next request."""
        self._target.rest()
        self._set_aside()

    def stop(self, call: int) -> None:
        """Nobody waits for this call any longer. Runs beside it."""
        self._stopped.add(call)
