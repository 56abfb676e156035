"""All principles of a run with what became of each, and what it did: the ledger behind constitution.yaml."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iteralign.constitution.doubles import with_evidence
from iteralign.records import Event, Principle, Record, TrainingExample, Verdict


def adopt(principles: Sequence[Principle], round_number: int) -> list[Principle]:
    """Those that nothing has spoken against are adopted; the others stay what they are."""
    event = Event(kind="adopted", round=round_number)
    return [
        principle.happened(event, status="adopted") if principle.status == "proposed" else principle
        for principle in principles
    ]


def extend(known: Sequence[Principle], new: Sequence[Principle]) -> list[Principle]:
    """`known` and a round's principles; what was merged into another adds its evidence there."""
    ledger = {principle.id: principle for principle in (*known, *new)}
    for principle in new:
        into = merged_into(principle)
        while into in ledger and merged_into(ledger[into]) is not None:
            into = merged_into(ledger[into])
        if into is not None and into in ledger:
            target = ledger[into]
            if not any(event.kind == "evidence" and event.other == principle.id for event in target.history):
                ledger[into] = with_evidence(target, principle, principle.history[-1].round)
    return list(ledger.values())


def in_force(ledger: Iterable[Principle]) -> list[Principle]:
    """Those that are adopted: what may stand in the target's context."""
    return [principle for principle in ledger if principle.status == "adopted"]


def merged_into(principle: Principle) -> str | None:
    """Id of the principle that this one was merged into."""
    return principle.history[-1].other if principle.status == "merged" and principle.history else None


class Effect(Record):
    """Failures of a principle's category among the prompts of the rounds up to the first that trained on it, and after.

    Each round has prompts of its own, so this is a comparison of samples, not of the same prompts; and whatever else the
    rounds trained on is in it.
    """

    failed_before: int
    prompts_before: int
    failed_after: int
    prompts_after: int


@dataclass(frozen=True)
class RoundTally:
    """What a round tells of effects."""

    prompts: int
    """Those that were judged."""
    failed: Counter[str | None]
    """Failures by category."""
    trained_on: frozenset[str]
    """Ids of principles behind the revisions that were trained on."""


def tally(verdicts: Sequence[Verdict], examples: Sequence[TrainingExample], trained: bool) -> RoundTally:
    """A round's part in the effects."""
    judged = [verdict for verdict in verdicts if verdict.label != "undetermined"]
    failed = Counter(verdict.category for verdict in judged if verdict.label == "unacceptable")
    rows = [row for row in examples if row.kind == "revision"] if trained else []
    return RoundTally(len(judged), failed, frozenset(id for row in rows for id in row.principles))


def effects(ledger: Sequence[Principle], rounds: Sequence[RoundTally]) -> dict[str, Effect]:
    """By id, for every adopted principle that was trained on."""
    measured = {}
    for principle in in_force(ledger):
        first = next((number for number, one in enumerate(rounds) if principle.id in one.trained_on), None)
        if first is not None:
            before, after = rounds[: first + 1], rounds[first + 1 :]
            measured[principle.id] = Effect(
                failed_before=sum(one.failed[principle.category] for one in before),
                prompts_before=sum(one.prompts for one in before),
                failed_after=sum(one.failed[principle.category] for one in after),
                prompts_after=sum(one.prompts for one in after),
            )
    return measured
