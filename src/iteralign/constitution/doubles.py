"""Doubles and contradictions: what says the same as a known principle is merged into it, what contradicts one is marked.

Similarity finds the candidates. Near-identical texts are doubles by that alone; where it is close, the oracle decides,
if it can (`Oracle.relate`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from iteralign.interfaces import Oracle
from iteralign.records import Event, Principle, Relation
from iteralign.settings.constitution import ConstitutionSettings
from iteralign.text.similarity import Similarity


@dataclass(frozen=True)
class Doubles:
    """When two principles are looked at together."""

    settings: ConstitutionSettings
    similarity: Similarity


def compare(
    oracle: Oracle, proposals: Sequence[Principle], adopted: Sequence[Principle], how: Doubles
) -> list[Principle]:
    """The proposals in their order: doubles with status `merged`, contradicting ones marked as such, evidence added.

    A proposal that a later one is merged into has its evidence; an adopted one gets it by `ledger.extend`.
    """
    every = [*adopted, *proposals]
    first = len(adopted)
    likeness = how.similarity([p.text for p in proposals], [p.text for p in every])
    nearest = {
        first + row: _by_likeness(every[: first + row], likeness[row])
        for row, proposal in enumerate(proposals)
        if proposal.status == "proposed"
    }
    doubles = {
        index: others[0]
        for index, others in nearest.items()
        if others and likeness[index - first][others[0]] >= how.settings.same
    }
    close = [
        (index, other)
        for index, others in nearest.items()
        if index not in doubles
        for other in others[: how.settings.neighbours]
        if likeness[index - first][other] >= how.settings.close
    ]
    asked_about = [(every[index], every[other]) for index, other in close]
    relations = dict(zip(close, oracle.relate(asked_about) if close else [], strict=True))
    for index in nearest:
        if index in doubles:
            alike = f"{likeness[index - first][doubles[index]]:.2f} alike"
            _merge(every, index, doubles[index], "similarity", alike, proposals[index - first].round)
        else:
            asked = {other: relations[index, other] for other in nearest[index] if (index, other) in relations}
            _settle(every, index, asked)
    return every[first:]


def _by_likeness(known: Sequence[Principle], likeness: Sequence[float]) -> list[int]:
    """Places of the known principles that count, the most like first."""
    places = [place for place, principle in enumerate(known) if principle.status in ("adopted", "proposed")]
    return sorted(places, key=lambda place: (-likeness[place], place))


def _settle(every: list[Principle], index: int, relations: dict[int, Relation]) -> None:
    """What the oracle's answers about the principle at `index` come to, the nearest first."""
    own = every[index]
    same = next((other for other, relation in relations.items() if relation == "same"), None)
    if same is not None:
        _merge(every, index, same, "oracle", "says the same in other words", own.round)
        return
    for other, relation in relations.items():
        if relation == "undetermined":
            doubt = Event(
                kind="compared", round=own.round, by="oracle", reason="could not be compared", other=every[other].id
            )
            every[index] = every[index].happened(doubt)
        elif relation == "contradicting" and every[other].status in ("adopted", "proposed"):
            here, there = (
                Event(kind="contradicting", round=own.round, by="oracle", other=id)
                for id in (every[other].id, every[index].id)
            )
            every[index] = every[index].happened(here, status="contradicting")
            if every[other].status == "proposed":  # what an adopted one went through is told by the new one's record
                every[other] = every[other].happened(there)


def _merge(every: list[Principle], index: int, other: int, by: str, reason: str, round_number: int) -> None:
    target = _root(every, other)
    if every[target].status == "contradicting":  # it says what is contested already
        event = Event(kind="contradicting", round=round_number, by=by, reason=reason, other=every[target].id)
        every[index] = every[index].happened(event, status="contradicting")
        return
    merged = Event(kind="merged", round=round_number, by=by, reason=reason, other=every[target].id)
    every[index] = every[index].happened(merged, status="merged")
    if every[target].status == "proposed":
        every[target] = with_evidence(every[target], every[index], round_number)


def _root(every: Sequence[Principle], index: int) -> int:
    """Where a principle that was itself merged went."""
    while every[index].status == "merged":
        into = every[index].history[-1].other
        index = next(place for place, principle in enumerate(every) if principle.id == into)
    return index


def with_evidence(target: Principle, merged: Principle, round_number: int | None) -> Principle:
    """The principle that another was merged into."""
    evidence = tuple(dict.fromkeys((*target.evidence, *merged.evidence)))
    event = Event(kind="evidence", round=round_number, by=merged.history[-1].by, other=merged.id)
    return target.happened(event, evidence=evidence)
