"""Several replicas of the target, each in a process of its own that Ray places on a machine, as one target.

Inputs go out in chunks to whoever is free; answers come back as chunks are finished, each with its index. A request names
its weights, which lie in a directory that all nodes see: a replica has no state of its own, and what a lost one owed is asked
of another. So answers are those of one process, but for the rounding of sums in other batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iteralign.activity import tell
from iteralign.errors import MissingExtraError
from iteralign.interfaces import Target, never
from iteralign.records import Checkpoint, Generation, Sampling
from iteralign.targets.member import Chunk
from iteralign.targets.ray_pool import RayPool
from iteralign.weights.model import LocalModel

CPU_ROWS, GPU_ROWS = 64, 256
"""Inputs of a chunk, at most: what one replica has at once in its batches."""


class ClusterTarget(Target):
    """Answers by replicas, which begin to start at `check`, or at the first use."""

    can_score = can_stop = True

    def __init__(
        self,
        model: LocalModel,
        pool: RayPool,
        make: Callable[[Path, Mapping[str, Any]], tuple[Target, Callable[[], object]]],
    ) -> None:
        """`model` is the trainer's. `pool`: of the replicas, none of which has started yet. `make` makes the target of one
        (targets/replica.py), given where trained weights lie and what they are computed with. Raises MissingExtraError where
        Ray is not installed."""
        if find_spec("ray") is None:
            raise MissingExtraError(
                "Ray is not installed: pip install 'iteralign[cluster]', or set cluster.address to null."
            )
        self.model = model
        self.replicas = pool.settings.replicas
        self._make = make
        self._pool = pool
        self._wanted = model.base

    def check(self) -> None:
        """Begin to start the replicas. Raises TargetError where there is no such cluster, or it lacks the GPUs."""
        self._pool.start(partial(self._make, self.model.storage.root.absolute(), self.model.arithmetic.record()))

    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on; each request names them."""
        self._wanted = checkpoint

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text. Raises TargetError."""
        done = dict(self.stream(inputs, sampling))
        return [done[index] for index in range(len(inputs))]

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        """(index, generation) as chunks are finished."""
        if not inputs or stop():
            return
        tell("answering", 0, len(inputs))
        # Longest first, as within a process: rows of a chunk have like lengths.
        order = sorted(range(len(inputs)), key=lambda index: (-len(inputs[index]), index))
        chunks = self._chunks(order)
        requests = [
            Chunk("answer", ([inputs[index] for index in chunk], sampling), sampling.max_new_tokens, _longest)
            for chunk in chunks
        ]
        done = 0
        for place, answers in self._asked(requests, stop):
            done += len(answers)
            tell("answering", done, len(inputs))
            yield from ((chunks[place][row], generation) for row, generation in answers)

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Mean log-probability of a token of each completion after its input, by the loaded weights."""
        chunks = self._chunks(range(len(inputs)))
        requests = [
            Chunk(
                "score", ([inputs[index] for index in chunk], [completions[index] for index in chunk]), len(chunk), len
            )
            for chunk in chunks
        ]
        scores: dict[int, float] = {}
        for place, found in self._asked(requests, never):
            scores |= {chunks[place][row]: score for row, score in found}
        return [scores[index] for index in range(len(inputs))]

    def rest(self) -> None:
        """Free what the replicas hold of the GPUs until the next `generate`."""
        self._pool.rest()

    def close(self) -> None:
        """End the replicas, and the Ray that was started for them."""
        self._pool.close()

    def _chunks(self, order: Sequence[int]) -> list[Sequence[int]]:
        self.check()
        most = GPU_ROWS if self._pool.gpus else CPU_ROWS
        size = max(1, min(most, -(-len(order) // self.replicas)))
        return [order[begin : begin + size] for begin in range(0, len(order), size)]

    def _asked(self, requests: Sequence[Chunk], stop: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
        """(place, answer) of each request, with the weights wanted."""
        checkpoint = self._wanted
        self.model.set_aside()
        if checkpoint.kind != "base":
            self.model.storage.place(checkpoint)  # whole on the disk, and as it was written
        return self._pool.run(checkpoint, requests, stop)


def _longest(answers: Sequence[tuple[int, Generation]]) -> int:
    """Tokens of the longest answer: about the number of steps that a batch took."""
    return max((generation.tokens for _, generation in answers), default=0) + 1
