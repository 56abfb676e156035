"""The constitution as a tree: category, principle, the failures that gave rise to it, and what is known of its effect."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iteralign.constitution.ledger import Effect, in_force
from iteralign.records import Principle, Revision, TrainingExample, Trial, Verdict
from iteralign.report.answers import category_of
from iteralign.stats.intervals import Proportion

MOST_PRINCIPLES = 300
MOST_FAILURES = 5
"""Shown of each principle."""
MOST_CHARACTERS = 600


@dataclass(frozen=True)
class FailedAnswer:
    """A question and the answer that gave rise to a principle."""

    prompt_id: str
    question: str
    answer: str


@dataclass(frozen=True)
class Branch:
    """A principle of the tree."""

    id: str
    text: str
    round: int
    status: str
    failures: list[FailedAnswer]
    evidence: int
    """Failures that gave rise to it, in all."""
    effect: list[str]
    """What was measured, a sentence each."""


@dataclass(frozen=True)
class Tree:
    """By category, the one with the most evidence first."""

    categories: list[tuple[str, list[Branch]]]
    total: int
    adopted: int
    shown: int


@dataclass
class Rounds:
    """What the rounds tell of principles; `add` each round in order."""

    failures: dict[str, FailedAnswer] = field(default_factory=dict)
    """By prompt id."""
    tried: Counter[str] = field(default_factory=Counter)
    """Tries with the principle in the context, by principle id."""
    passed: Counter[str] = field(default_factory=Counter)
    examples: Counter[str] = field(default_factory=Counter)
    failed: list[Counter[str]] = field(default_factory=list)
    """By round: failures by category."""
    judged: list[int] = field(default_factory=list)

    def add(
        self,
        verdicts: Sequence[Verdict],
        revisions: Sequence[Revision],
        examples: Sequence[TrainingExample],
        trained: bool,
    ) -> None:
        """One round."""
        bad = [verdict for verdict in verdicts if verdict.label == "unacceptable"]
        for verdict in bad:
            response = verdict.response
            self.failures[response.prompt.id] = FailedAnswer(
                response.prompt.id, response.prompt.question[:MOST_CHARACTERS], response.text[:MOST_CHARACTERS]
            )
        self.failed.append(Counter(category_of(verdict) for verdict in bad))
        self.judged.append(sum(verdict.label != "undetermined" for verdict in verdicts))
        for revision in revisions:
            ids = {principle.id for principle in revision.principles}
            self.tried.update(ids)
            if revision.verdict is not None and revision.verdict.label == "acceptable":
                self.passed.update(ids)
        for row in examples if trained else ():
            if row.kind == "revision":
                self.examples.update(row.principles)


def tree(principles: Sequence[Principle], effects: Mapping[str, Effect], rounds: Rounds) -> Tree:
    """Of a run's principles; those with the most evidence are kept where there are too many."""
    kept = sorted(principles, key=lambda one: -len(one.evidence))[:MOST_PRINCIPLES]
    ids = {one.id for one in kept}
    groups: dict[str, list[Branch]] = defaultdict(list)
    for one in principles:
        if one.id in ids:
            groups[one.category or "no category"].append(_branch(one, effects.get(one.id), rounds))
    ordered = sorted(groups.items(), key=lambda item: -sum(branch.evidence for branch in item[1]))
    return Tree(ordered, len(principles), len(in_force(principles)), len(kept))


def _branch(principle: Principle, measured: Effect | None, rounds: Rounds) -> Branch:
    known = [rounds.failures[one] for one in principle.evidence if one in rounds.failures]
    return Branch(
        id=principle.id,
        text=principle.text,
        round=principle.round,
        status=principle.status,
        failures=known[:MOST_FAILURES],
        evidence=len(principle.evidence),
        effect=_effect(principle, measured, rounds),
    )


def _effect(principle: Principle, measured: Effect | None, rounds: Rounds) -> list[str]:
    one = principle.id
    said = [*_why(principle), *(_trial(principle.trial) if principle.trial else ())]
    if rounds.tried[one]:
        said.append(
            f"In the context of {rounds.tried[one]:,} tries at answering a failure again, of which "
            f"{Proportion(rounds.passed[one], rounds.tried[one])} passed the second judgement."
        )
    if rounds.examples[one]:
        said.append(f"Behind {rounds.examples[one]:,} answers that were trained on.")
    if measured is not None:
        before = Proportion(measured.failed_before, measured.prompts_before)
        after = Proportion(measured.failed_after, measured.prompts_after)
        said.append(
            f"Failures of its category, of all prompts of a round: {before} up to the first training on it, {after} after. "
            "Rounds have different prompts, and all principles act at once."
        )
    return said or ["Nothing was trained on it, so there is no effect to show."]


def _why(principle: Principle) -> list[str]:
    """Why it was not adopted, as its history has it."""
    if principle.status == "adopted" or not principle.history:
        return []
    last = principle.history[-1]
    into = f" into {last.other}" if last.other and principle.status == "merged" else ""
    by, reason = f" by {last.by}" if last.by else "", f": {last.reason}" if last.reason else ""
    return [f"{principle.status.capitalize()}{into}{by}{reason}."]


def _trial(trial: Trial) -> list[str]:
    """The gate's trial of the principle alone."""
    failures = {
        "Alone in the context, acceptable answers to the prompts of its evidence": trial.own,
        "Acceptable answers to other failures": trial.others,
    }
    said = [
        f"{name}: {Proportion(part.without, part.total)} without it, {Proportion(part.with_it, part.total)} with it."
        for name, part in failures.items()
        if part.total
    ]
    benign = trial.benign
    if benign.total:
        both = benign.without - benign.lost
        refused = Proportion(benign.with_it, benign.total)
        said.append(f"Refusals of benign training prompts: {refused} with it, {both} of them without it, too.")
    if trial.left:
        said.append(f"The trial was decided with {trial.left} prompts of its sample left.")
    return said
