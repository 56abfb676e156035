"""All principles of a run with what became of each, and what it did: the ledger behind constitution.yaml."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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


class Effects:
    """What the principles of a run have done so far: told of each round in turn, at a cost that earlier rounds do not raise."""

    def __init__(self) -> None:
        self._now = _Sum(0, {})
        self._first: dict[str, _Sum] = {}
        """By principle: the sum up to the first round that trained on it, that one included."""

    def add(self, one: RoundTally) -> None:
        """The next round is done."""
        failed = dict(self._now.failed)
        for category, count in one.failed.items():
            failed[category] = failed.get(category, 0) + count
        self._now = _Sum(self._now.prompts + one.prompts, failed)
        for principle in one.trained_on - self._first.keys():
            self._first[principle] = self._now

    def of(self, ledger: Sequence[Principle]) -> dict[str, Effect]:
        """By id, for every adopted principle that was trained on, and of whose category something had failed: a judge of one
        token names no categories."""
        measured = {}
        for principle in in_force(ledger):
            first = self._first.get(principle.id)
            if first is not None and (before := first.failed.get(principle.category, 0)):
                measured[principle.id] = Effect(
                    failed_before=before,
                    prompts_before=first.prompts,
                    failed_after=self._now.failed[principle.category] - before,
                    prompts_after=self._now.prompts - first.prompts,
                )
        return measured


@dataclass(frozen=True)
class _Sum:
    """Of the rounds so far."""

    prompts: int
    failed: Mapping[str | None, int]
    """By category."""
