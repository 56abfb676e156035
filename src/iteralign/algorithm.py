"""IterAlign (Chen et al., NAACL 2024): the loop. Read this first, then `records.py`.

A round takes one group of red-team prompts. The target answers them; the oracle judges the answers and writes principles
that would have prevented the failures; those that say something new and hold up in a trial are adopted; the target answers the
failed prompts again with adopted principles in its context; what passes a second judgement trains it, without the
principles in the prompt, so that they move from the context into the weights. The next round meets the trained target.

`keep` stands around every step: it computes the step and stores the result, or reads back what an earlier attempt of the
same run stored (see `rundir/directory.py`). Leave it out in your mind, and the paper's algorithm remains.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from iteralign.activity import within
from iteralign.constitution.doubles import Doubles, compare
from iteralign.constitution.gate import Bench, Gate, try_out
from iteralign.constitution.ledger import adopt, extend, in_force
from iteralign.constitution.review import Reviewer, review
from iteralign.interfaces import Oracle, Target, Trainer
from iteralign.prompts.forms import PromptForm
from iteralign.records import (
    Checkpoint,
    Principle,
    RedTeamPrompt,
    Response,
    Revision,
    Sampling,
    TrainingExample,
    Verdict,
)
from iteralign.steps.examples import examples
from iteralign.steps.finetune import finetune
from iteralign.steps.judge import acceptable, judge, unacceptable
from iteralign.steps.propose import Wording, propose
from iteralign.steps.respond import respond
from iteralign.steps.revise import Mode, revise
from iteralign.steps.verify import best, scored, verified, verify
from iteralign.text.similarity import Similarity, by_words

P = ParamSpec("P")
T = TypeVar("T")


class Keeper(Protocol):
    """Where one round's stages are kept."""

    @property
    def directory(self) -> Path:
        """The round's own directory, for weights."""
        ...

    def __call__(self, stage: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`step(*args, **kwargs)`, stored under `stage`; or what is stored there already."""
        ...


@dataclass(frozen=True)
class Discovery:
    """How a principle comes to be adopted."""

    propose: bool = True
    """False: the constitution stays as it was given."""
    wording: Wording = "positive"
    contrast: bool = False
    """Show the proposer the round's acceptable answers too."""
    doubles: Doubles | None = None
    """None: only a text that is there word for word is a double."""
    gate: Gate | None = None
    """None: whatever is proposed is adopted untried (the paper)."""
    reviewer: Reviewer | None = None
    """None: nobody is asked."""


@dataclass(frozen=True)
class Reflection:
    """How failures are answered again."""

    mode: Mode = "block"
    max_principles: int = 6
    tries: int = 3
    temperature: float = 0.8
    """Of the second and later tries."""
    best_of: int = 1
    """Revisions that are to pass before the best is taken; 1, or a target that can't score: the first that passes."""
    similarity: Similarity = by_words
    """What decides, after evidence and category, which principles fit a failure."""


@dataclass(frozen=True)
class Mixture:
    """What is trained on beside a round's verified revisions, as shares of their number."""

    replay: float = 1.0
    min_replay: int = 16
    benign_share: float = 1.0
    min_benign: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Round:
    """What happened in one round."""

    number: int
    checkpoint: Checkpoint
    """The weights after the round."""
    trained: bool
    verdicts: list[Verdict]
    pending: list[Verdict]
    """Failures collected since the last training, this round's among them."""
    principles: list[Principle] = field(default_factory=list)
    """What was proposed, whatever became of it; only the adopted ones were used."""
    ledger: list[Principle] = field(default_factory=list)
    """All principles of the run after the round."""
    revisions: list[Revision] = field(default_factory=list)
    examples: list[TrainingExample] = field(default_factory=list)


def iteralign(
    groups: Sequence[Sequence[RedTeamPrompt]],
    base: Checkpoint,
    *,
    target: Target,
    oracle: Oracle,
    trainer: Trainer,
    form: PromptForm,
    keeper: Callable[[int], Keeper],
    sampling: Sampling,
    reflection: Reflection,
    mixture: Mixture,
    discovery: Discovery,
    constitution: Sequence[Principle] = (),
    benign: Sequence[Response] = (),
    min_failures: int = 1,
    admit: Callable[[int, Checkpoint], Checkpoint] = lambda number, checkpoint: checkpoint,
) -> Iterator[Round]:
    """Align `target` round by round; one `Round` is yielded after each group of prompts.

    `constitution` is what the run starts with (the paper: nothing). `benign` are the base model's answers to benign
    prompts, for replay and for trials of principles. Failures are collected over rounds until there are `min_failures` of
    them (1: the paper), or the prompts end. `admit` is given a round's number and its new checkpoint and returns the one
    to go on from: it, or an earlier one with a `problem` (the guard rails; the paper has none).
    """
    checkpoint = base
    target.load(checkpoint)
    ledger = list(constitution)
    trained_on: list[TrainingExample] = []
    pending: list[Verdict] = []
    earlier: list[Verdict] = []
    for number, prompts in enumerate(groups):
        keep = keeper(number)
        responses = keep("1_responses", respond, target, form, prompts, sampling)
        verdicts = keep("2_verdicts", judge, oracle, responses)
        pending = [*pending, *unacceptable(verdicts)]
        if not pending or (len(pending) < min_failures and number < len(groups) - 1):
            yield Round(number, checkpoint, False, verdicts, pending, ledger=ledger)  # the model is unchanged
            continue
        bench = Bench(target, oracle, form, pending, earlier, benign, sampling)
        principles = discover(keep, bench, verdicts, ledger, number, discovery)
        ledger = extend(ledger, principles)
        revisions = keep("4_revisions", reflect, target, oracle, form, pending, in_force(ledger), sampling, reflection)
        rows = keep("5_examples", _rows, form, best(revisions), trained_on, benign, number, mixture)
        if rows:
            checkpoint = keep("6_checkpoint", finetune, trainer, target, checkpoint, rows, keep.directory, number)
            checkpoint = admit(number, checkpoint)
            target.load(checkpoint)
        trained = bool(rows) and checkpoint.problem is None
        trained_on = [*trained_on, *(row for row in rows if trained and row.kind == "revision")]
        yield Round(number, checkpoint, trained, verdicts, pending, principles, ledger, revisions, rows)
        pending, earlier = [], [*earlier, *pending]


def discover(
    keep: Keeper, bench: Bench, verdicts: Sequence[Verdict], ledger: Sequence[Principle], number: int, how: Discovery
) -> list[Principle]:
    """The round's principles, each with what became of it: proposed, compared with the known, tried, reviewed, adopted."""
    adopted = in_force(ledger)
    principles = [principle for principle in ledger if principle.status == "proposed"]  # given, to be tried first
    if how.propose:
        shown = acceptable(verdicts) if how.contrast else []
        principles += keep(
            "3a_proposals",
            propose,
            bench.oracle,
            bench.failures,
            adopted,
            number,
            wording=how.wording,
            contrast=shown,
        )
    if how.doubles is not None:
        principles = keep("3b_distinct", compare, bench.oracle, principles, adopted, how.doubles)
    if how.gate is not None:
        principles = keep("3c_tried", try_out, bench, principles, how.gate, number)
    if how.reviewer is not None:
        principles = review(keep, how.reviewer, bench, principles, adopted, how.gate, number)
    return keep("3_principles", adopt, principles, number)


def reflect(
    target: Target,
    oracle: Oracle,
    form: PromptForm,
    failures: Sequence[Verdict],
    principles: Sequence[Principle],
    sampling: Sampling,
    how: Reflection,
) -> list[Revision]:
    """Revise and verify each failure until `how.best_of` revisions pass or `how.tries` are used.

    A target that can't say which one is best is asked for one. All tries are returned, judged. The first decodes as the
    target does everywhere; later ones sample, each with a seed of its own.
    """
    choosing = how.best_of > 1 and target.can_score
    wanted = how.best_of if choosing else 1
    tried: list[Revision] = []
    left = list(failures) if principles else []
    for attempt in range(how.tries):
        if not left:
            break
        again = sampling if attempt == 0 else _warmer(sampling, how.temperature, attempt)
        with within(f"try {attempt + 1} of {how.tries}"):
            revisions = revise(
                target,
                form,
                left,
                principles,
                again,
                mode=how.mode,
                max_principles=how.max_principles,
                attempt=attempt,
                similarity=how.similarity,
            )
            tried += verify(oracle, revisions)
        passed = Counter(revision.failure.response.prompt.id for revision in verified(tried))
        left = [failure for failure in left if passed[failure.response.prompt.id] < wanted]
    return scored(target, form, tried) if choosing else tried


def groups_of(prompts: Sequence[RedTeamPrompt], size: int, limit: int | None = None) -> list[list[RedTeamPrompt]]:
    """The prompts in groups of `size`, in their order, the last one smaller; at most `limit` groups."""
    starts: Iterable[int] = range(0, len(prompts), size)
    return [list(prompts[start : start + size]) for start in starts][:limit]


def _warmer(sampling: Sampling, temperature: float, attempt: int) -> Sampling:
    warmest = max(temperature, sampling.temperature)
    return sampling.model_copy(update={"temperature": warmest, "seed": sampling.seed + attempt})


def _rows(
    form: PromptForm,
    passed: Sequence[Revision],
    earlier: Sequence[TrainingExample],
    benign: Sequence[Response],
    number: int,
    mixture: Mixture,
) -> list[TrainingExample]:
    return examples(
        form,
        passed,
        earlier,
        benign,
        number,
        replay=mixture.replay,
        min_replay=mixture.min_replay,
        benign_share=mixture.benign_share,
        min_benign=mixture.min_benign,
        seed=mixture.seed,
    )
