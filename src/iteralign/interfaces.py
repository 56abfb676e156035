"""The three seams of the loop: `Target`, `Oracle`, `Trainer`. Whatever has these methods can take part.

`Scorer` and `Relater` are what a target and an oracle may be able to do besides; the loop goes without where they can't.

`iteralign.fakes` has a public fake of each, quick and without any model, for tests of your own code.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from iteralign.records import (
    Checkpoint,
    Generation,
    Principle,
    Relation,
    Response,
    Sampling,
    Spent,
    TrainingExample,
    Verdict,
)


class Target(Protocol):
    """The model being aligned."""

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text; the result has the order and the length of `inputs`.

        A generation depends on the weights, its own input and `sampling` alone. An input that does not fit the context
        gives `finish="prompt_too_long"`; it is never cut.
        """
        ...

    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on. May be lazy: nothing need be read before the next `generate`."""
        ...


def never() -> bool:
    """No reason to stop."""
    return False


@runtime_checkable
class Streams(Protocol):
    """What a target may have besides: answers are told one by one, so that they can be judged while others are generated."""

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        """What `generate` returns, as (index, generation) in the order in which they are finished.

        Ends early, without the rest, once `stop` says so; it is asked often enough that nothing is lost by it.
        """
        ...


class Oracle(Protocol):
    """The stronger model that judges and proposes."""

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response, in their order. What can't be read is `undetermined`, never a guess."""
        ...

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """Principles that would have prevented the failures and that `adopted` does not cover yet.

        `id` and `round` are set by the caller; `evidence` names prompt ids among the failures. `contrast`: acceptable
        answers to other questions of the round, given only where the setting `constitution.contrast` asks for it. What
        the oracle itself finds unfit may be returned with status `rejected` and its reason, so that it stands in the
        record.
        """
        ...


@runtime_checkable
class Concurrent(Protocol):
    """What an oracle may have besides: its methods may be called from several threads, so many at a time."""

    @property
    def concurrency(self) -> int:
        """Calls of `judge` with one response each that may be under way at once."""
        ...


@runtime_checkable
class Relater(Protocol):
    """An oracle that can say how principles stand to each other. Without it, similar wording alone decides."""

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """One relation per pair, in their order."""
        ...


@runtime_checkable
class Forgets(Protocol):
    """An oracle that keeps replies from one run to the next."""

    def forget(self, responses: Sequence[Response]) -> None:
        """Ask again, and not read back, when these are judged the next time."""
        ...


@runtime_checkable
class Spends(Protocol):
    """An oracle whose calls are counted."""

    def spent(self) -> Spent | None:
        """So far; None where nothing is counted. Called from another thread while calls are under way."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A target that can say how likely it finds an answer. Without it, the first revision that passes is taken."""

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float] | None:
        """Mean log-probability of a token of each completion after its input, by the loaded weights.

        None, also for no texts, from something that wraps a target which can't tell.
        """
        ...


def as_scorer(target: Target) -> Scorer | None:
    """The target, if it can score; None also for one that only wraps a target which can't."""
    return target if isinstance(target, Scorer) and target.score([], []) is not None else None


class Trainer(Protocol):
    """Turns examples into weights."""

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`, write the new weights below `directory` (the round's own), return where they are.

        Raises TrainingDiverged, leaving `start` usable, when the result must not be used (a loss that is not finite):
        the loop goes on with `start`. Any other TrainingError ends the run.
        """
        ...


def propose(
    oracle: Oracle, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict]
) -> list[Principle]:
    """Ask the oracle, with `contrast` only where there is any: an oracle of one's own need not know of it."""
    return oracle.propose(failures, adopted, contrast) if contrast else oracle.propose(failures, adopted)


def relate(oracle: Oracle, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
    """How the principles of each pair stand to each other; `different` where the oracle can't say."""
    if not pairs or not isinstance(oracle, Relater):
        return ["different"] * len(pairs)
    return oracle.relate(pairs)


def forget(oracle: object, responses: Sequence[Response]) -> None:
    """Let the oracle judge these anew the next time; one that keeps nothing need not be told."""
    if isinstance(oracle, Forgets):
        oracle.forget(responses)
