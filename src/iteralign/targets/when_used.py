"""A target that is told of its weights when it is used, and not before."""

from collections.abc import Callable, Iterator, Sequence

from iteralign.interfaces import Target, never
from iteralign.records import Checkpoint, Generation, Sampling


class LoadedWhenUsed(Target):
    """The same target. A resumed run names the weights of every round that it reads back, of which most are gone, and one of a
    person's own may read them at once."""

    def __init__(self, target: Target) -> None:
        self.can_score, self.can_stop = target.can_score, target.can_stop
        self._target = target
        self._wanted: Checkpoint | None = None

    def load(self, checkpoint: Checkpoint) -> None:
        self._wanted = checkpoint

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        return self._loaded().generate(inputs, sampling) if inputs else []

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        if inputs:
            yield from self._loaded().stream(inputs, sampling, stop)

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        return self._loaded().score(inputs, completions)

    def rest(self) -> None:
        self._target.rest()

    def _loaded(self) -> Target:
        if self._wanted is not None:
            self._target.load(self._wanted)
            self._wanted = None
        return self._target
