"""The constitution as a table: of each principle its evidence, its trial, what was trained on, and its category's failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iteralign.constitution.gate import lift
from iteralign.constitution.ledger import Effect, in_force
from iteralign.records import Paired, Principle, Revision, TrainingExample, Trial, Verdict
from iteralign.report.answers import category_of
from iteralign.report.chart import Bar
from iteralign.stats.intervals import Difference, Proportion, paired_difference

MOST_PRINCIPLES = 300
MOST_FAILURES = 5
"""Shown of each principle."""
MOST_CHARACTERS = 600
MOST_LEADING = 3


@dataclass(frozen=True)
class FailedAnswer:
    """A question and the answer that gave rise to a principle."""

    prompt_id: str
    question: str
    answer: str


@dataclass(frozen=True)
class PrincipleRow:
    """A principle of the table."""

    id: str
    text: str
    category: str
    round: int
    """-1 for one that was given."""
    status: str
    why: str
    """Why it was not adopted, as its history has it; empty for one that was."""
    evidence: int
    """Failures that gave rise to it."""
    failures: list[FailedAnswer]
    """Some of them."""
    lift: Difference | None
    """Acceptable answers to failures with it alone in the context, beside those without; None where it was not tried."""
    benign: Paired | None
    """Refusals of benign training prompts with it and without; None where none was asked."""
    trained_on: int
    """Answers given under it that were trained on."""
    before: Proportion | None
    """Failures of its category among all prompts up to the first round that trained on it; None where none did."""
    after: Proportion | None
    """The same after it."""
    notes: list[str]
    """What else was measured, a sentence each."""

    @property
    def bars(self) -> tuple[Bar, Bar] | None:
        """Before and after, as they are drawn."""
        if self.before is None or self.after is None:
            return None
        was, now = (Bar(one.rate if one.total else 0.0, *one.interval) for one in (self.before, self.after))
        return was, now


@dataclass(frozen=True)
class PrincipleTable:
    """The table: adopted ones, those with the most answers trained on first, and the others below."""

    adopted: list[PrincipleRow]
    others: list[PrincipleRow]
    total: int
    in_force: int

    @property
    def shown(self) -> int:
        """How many rows there are."""
        return len(self.adopted) + len(self.others)

    @property
    def leading(self) -> list[PrincipleRow]:
        """Those that did most, by the answers trained on that were given under them."""
        return [row for row in self.adopted if row.trained_on][:MOST_LEADING]

    @property
    def tried(self) -> bool:
        """Whether any was tried alone."""
        return any(row.lift for row in (*self.adopted, *self.others))

    @property
    def measured(self) -> bool:
        """Whether any has an effect to show."""
        return any(row.before for row in self.adopted)


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


def principle_table(principles: Sequence[Principle], effects: Mapping[str, Effect], rounds: Rounds) -> PrincipleTable:
    """Of a run's principles; those with the most evidence are kept where there are too many, adopted ones before others."""
    force = {one.id for one in in_force(principles)}
    kept = sorted(principles, key=lambda one: (one.id not in force, -len(one.evidence)))[:MOST_PRINCIPLES]
    rows = [_row(one, effects.get(one.id), rounds) for one in kept]
    rows.sort(key=lambda row: (-row.trained_on, -row.evidence))
    adopted = [row for row in rows if row.id in force]
    return PrincipleTable(adopted, [row for row in rows if row.id not in force], len(principles), len(force))


def _row(one: Principle, measured: Effect | None, rounds: Rounds) -> PrincipleRow:
    known = [rounds.failures[prompt] for prompt in one.evidence if prompt in rounds.failures]
    both = lift(one.trial) if one.trial else Paired()
    return PrincipleRow(
        id=one.id,
        text=one.text,
        category=one.category or "no category",
        round=one.round,
        status=one.status,
        why=_why(one),
        evidence=len(one.evidence),
        failures=known[:MOST_FAILURES],
        lift=paired_difference(both) if both.total else None,
        benign=one.trial.benign if one.trial and one.trial.benign.total else None,
        trained_on=rounds.examples[one.id],
        before=Proportion(measured.failed_before, measured.prompts_before) if measured else None,
        after=Proportion(measured.failed_after, measured.prompts_after) if measured else None,
        notes=_notes(one, rounds),
    )


def _notes(one: Principle, rounds: Rounds) -> list[str]:
    said = _trial(one.trial) if one.trial else []
    if rounds.tried[one.id]:
        said.append(
            f"In the context of {rounds.tried[one.id]:,} tries at answering a failure again, of which "
            f"{Proportion(rounds.passed[one.id], rounds.tried[one.id])} passed the second judgement."
        )
    return said


def _why(principle: Principle) -> str:
    if principle.status == "adopted":
        return ""
    if not principle.history:
        return f"{principle.status.capitalize()}."
    last = principle.history[-1]
    into = f" into {last.other}" if last.other and principle.status == "merged" else ""
    by, reason = f" by {last.by}" if last.by else "", f": {last.reason}" if last.reason else ""
    return f"{principle.status.capitalize()}{into}{by}{reason}."


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
