"""The three seams of the loop, as base classes: `Target`, `Oracle`, `Trainer`.

One or two methods of each must be written. All else has a default that is true of any: what a part can't do it does not
claim, and nobody looks for a method that may be there or not. A part is given what it needs when it is made.

`iteralign.fakes` has a public fake of each, quick and without any model, for tests of your own code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from iteralign.activity import tell
from iteralign.records import (
    Checkpoint,
    Generation,
    Preference,
    Principle,
    RedTeamPrompt,
    Relation,
    Response,
    Sampling,
    Spent,
    TrainingExample,
    Verdict,
    WantedPrompt,
)


def never() -> bool:
    """No reason to stop."""
    return False


class Part:
    """What all three have in common."""

    def check(self) -> None:
        """Called before a run begins or goes on: the place to find out that a key is wrong. Raises an IteralignError."""
        return

    def close(self) -> None:
        """Give back what is held: processes, memory. Called at the end by whoever made the part."""
        return


class Target(Part, ABC):
    """The model being aligned."""

    can_score: bool = False
    """Whether it has `score`."""
    can_stop: bool = False
    """Whether its `stream` ends early where it is asked to."""

    @abstractmethod
    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        """Continue each text; the result has the order and the length of `inputs`.

        A generation depends on the weights, its own input and `sampling` alone. An input that does not fit the context
        gives `finish="prompt_too_long"`; it is never cut.
        """

    @abstractmethod
    def load(self, checkpoint: Checkpoint) -> None:
        """Generate with these weights from now on. May be lazy: nothing need be read before the next `generate`."""

    def stream(
        self, inputs: Sequence[str], sampling: Sampling, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, Generation]]:
        """What `generate` returns, as (index, generation), at best in the order in which they are finished, so that they
        can be judged while others are generated.

        With `can_stop` it ends early, without the rest, once `stop` says so; it is asked often enough that nothing is lost.
        """
        if inputs:
            tell("answering", 0, len(inputs))
            yield from enumerate(self.generate(inputs, sampling))

    def score(self, inputs: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Mean log-probability of a token of each completion after its input, by the loaded weights.

        Asked only with `can_score`. Without it there is no capability check, and the first revision that passes is taken.
        """
        raise NotImplementedError(f"{type(self).__name__} can't score.")

    def rest(self) -> None:
        """A training is about to begin: free what memory can be freed until the next `generate`."""
        return


class Judge(Part, ABC):
    """The judging half of an oracle."""

    concurrency: int = 0
    """Calls of `judge` with one response each that may be under way at once, from several threads, while the target
    generates. 0: it is called by one thread, with all responses of a step."""
    sees_both: bool = False
    """Whether `compare` is shown both answers at once, so that their order may sway it."""

    @abstractmethod
    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response, in their order. What can't be read is `undetermined`, never a guess."""

    def forget(self, responses: Sequence[Response]) -> None:
        """Where replies are kept: ask again, and don't read them back, when these are judged the next time."""
        return

    def compare(self, pairs: Sequence[tuple[Response, Response]]) -> list[Preference]:
        """Which of two answers to one question is better. By default each is judged, and acceptable beats unacceptable."""
        verdicts = iter(self.judge([response for pair in pairs for response in pair]))
        return [_preferred(next(verdicts), next(verdicts)) for _ in pairs]


class Oracle(Judge):
    """The stronger model that judges and proposes."""

    @abstractmethod
    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        """Principles that would have prevented the failures and that `adopted` does not cover yet.

        `id` and `round` are set by the caller; `evidence` names prompt ids among the failures. `contrast`: acceptable
        answers to other questions of the round, given only where the setting `constitution.contrast` asks for it. What
        the oracle itself finds unfit may be returned with status `rejected` and its reason, so that it stands in the
        record.
        """

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """How the principles of each pair stand to each other. By default similar wording alone decides."""
        return ["different"] * len(pairs)

    def write_prompts(self, wanted: Sequence[WantedPrompt]) -> list[str | None]:
        """A red-team question for each, None where there is none; asked only with `redteam.grow`. By default it writes none."""
        return [None] * len(wanted)

    def write_twins(self, principle: Principle, failed: Sequence[RedTeamPrompt]) -> list[str | None]:
        """For each failed prompt a harmless question that differs in little from it, such as one to which the principle should
        not apply; None where there is none. Asked only with `constitution.twins`. By default it writes none."""
        return [None] * len(failed)

    def wish_for_harm(self, questions: Sequence[str]) -> list[bool | None]:
        """Whether a good assistant declines each of these questions; None, as by default, where that is not known."""
        return [None] * len(questions)

    def spent(self) -> Spent | None:
        """So far; None where nothing is counted. Called from another thread while calls are under way."""
        return None


class Trainer(Part, ABC):
    """Turns examples into weights."""

    @abstractmethod
    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`, write the new weights below `directory` (the round's own), return where they are.

        Raises TrainingDiverged, leaving `start` usable, when the result must not be used (a loss that is not finite):
        the loop goes on with `start`. Any other TrainingError ends the run.
        """

    def export(self, checkpoint: Checkpoint, directory: Path) -> bool:
        """Write the final model there, whole and an adapter merged, where this takes less memory than the run's own way, which
        holds all of it at once. By default it does not, and says so by False."""
        return False


def _preferred(first: Verdict, second: Verdict) -> Preference:
    labels = (first.label, second.label)
    if "undetermined" in labels:
        return "undetermined"
    if first.label == second.label:
        return "tie"
    return "first" if first.label == "acceptable" else "second"
