"""IterAlign (Chen et al., NAACL 2024): the loop. Read this first, then `records.py`.

A round takes one group of red-team prompts. The target answers them. The oracle judges the answers and writes principles that
would have prevented the failures. Those that say something new and hold up in a trial are adopted. The target answers the
failed prompts again with adopted principles in its context. What passes a second judgement trains it, without the principles in
the prompt, so that they move from the context into the weights. The next round meets the trained target.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from iteralign.constitution.ledger import extend, in_force
from iteralign.records import Checkpoint, Principle, RedTeamPrompt, Revision, TrainingExample, Verdict
from iteralign.scoreboard.guard_rails import Standing
from iteralign.scoreboard.measurement import Measurement
from iteralign.steps.judge import unacceptable
from iteralign.steps.verify import best


def iteralign(
    base: Measurement,
    begin: "Callable[[int, Checkpoint], Steps]",
    *,
    constitution: Sequence[Principle] = (),
    min_failures: int = 1,
) -> "Iterator[Round]":
    """Align the base model round by round; one `Round` is yielded for each group of prompts.

    `begin` gives a round's steps, by its number and the weights that the target is to have. `constitution` is what the run
    starts with (the paper: nothing). Failures are collected until there are `min_failures` (1: the paper), or no more prompts.
    """
    weights, standing, ledger = base.checkpoint, Standing.first(base), list(constitution)
    failures, earlier, trained_on = list[Verdict](), list[Verdict](), list[TrainingExample]()
    for number in count():
        steps = begin(number, weights)
        verdicts = steps.answer_and_judge(steps.choose())  # sections 3.1 and 3.2 of the paper
        failures = [*failures, *unacceptable(verdicts)]
        enough = len(failures) >= (1 if steps.last() else min_failures)
        if enough:
            principles = steps.discover(failures, earlier, ledger)  # section 3.3
            ledger = extend(ledger, principles)
            revisions = steps.reflect(failures, in_force(ledger), trained_on)  # section 3.4
            examples = steps.examples(best(revisions), trained_on)
        else:
            principles, revisions, examples = [], [], []
        weights, problem = steps.finetune(weights, examples) if examples else (weights, None)  # section 3.5
        measured = steps.measure(weights)
        if measured is not None:
            standing = steps.decide(standing, measured)
            weights, problem = standing.weights, standing.problem or problem
        trained = bool(examples) and problem is None
        yield Round(
            *(number, verdicts, failures, principles, ledger, revisions, examples),
            *(weights, trained, problem, measured, standing),
        )
        if standing.stopped is not None or steps.last():
            return
        if enough:
            failures, earlier = [], [*earlier, *failures]
        trained_on += [example for example in examples if trained and example.kind == "revision"]


@dataclass(frozen=True)
class Round:
    """What happened in one round."""

    number: int
    verdicts: list[Verdict]
    failures: list[Verdict]
    """Those collected since the last training, this round's among them."""
    principles: list[Principle]
    """What was proposed, whatever became of it; only the adopted ones were used."""
    ledger: list[Principle]
    """All principles of the run after the round."""
    revisions: list[Revision]
    examples: list[TrainingExample]
    weights: Checkpoint
    """What the next round begins with."""
    trained: bool
    problem: str | None
    """Why the weights go back: the training diverged, or a guard rail tripped."""
    measured: Measurement | None
    standing: Standing


class Steps(Protocol):
    """A round's verbs. `runs/steps.py` has them: each result is kept, or read back where the run has kept it before."""

    def choose(self) -> Sequence[RedTeamPrompt]: ...
    def answer_and_judge(self, prompts: Sequence[RedTeamPrompt]) -> list[Verdict]: ...
    def last(self) -> bool: ...
    def discover(self, failures: list[Verdict], earlier: list[Verdict], ledger: list[Principle]) -> list[Principle]: ...
    def reflect(
        self, failures: list[Verdict], principles: list[Principle], earlier: list[TrainingExample]
    ) -> list[Revision]: ...
    def examples(self, revisions: list[Revision], earlier: list[TrainingExample]) -> list[TrainingExample]: ...
    def finetune(self, start: Checkpoint, examples: list[TrainingExample]) -> tuple[Checkpoint, str | None]: ...
    def measure(self, weights: Checkpoint) -> Measurement | None: ...
    def decide(self, standing: Standing, measured: Measurement) -> Standing: ...
