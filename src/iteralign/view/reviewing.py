"""What the page of a review shows of each principle that waits."""

from dataclasses import dataclass

from iteralign.constitution.gate import figures
from iteralign.constitution.review import SheetEntry, neighbours, so_far
from iteralign.records import Principle
from iteralign.rundir.desk import Desk, state_of

_MOST = 5
"""Failures shown of each."""


@dataclass(frozen=True)
class Origin:
    """One that gave rise to the principle."""

    question: str
    answer: str


@dataclass(frozen=True)
class Card:
    """One principle."""

    principle: Principle
    entry: SheetEntry
    """What was decided so far."""
    seen: str
    by: str
    so_far: str
    figures: str
    neighbours: list[str]
    """The most similar principles, with their likeness."""
    failures: list[Origin]
    into: list[str]
    """Ids that it can be merged into, once they are accepted."""


def cards(desk: Desk) -> list[Card]:
    """Those to decide on, in their order. Raises ConfigError where the file can't be read."""
    sheet = desk.read()
    entries = {entry.id: entry for entry in sheet.principles}
    known = [*desk.adopted, *desk.principles]
    answers = _answers(desk)
    return [
        Card(
            principle=one,
            entry=entries[one.id],
            seen=state_of(entries[one.id]),
            by=entries[one.id].by or sheet.reviewer or "",
            so_far=so_far(one),
            figures=figures(one.trial) if one.trial else "not tried",
            neighbours=neighbours(one, known),
            failures=[answers[id] for id in one.evidence if id in answers][:_MOST],
            into=[other.id for other in known if other.id != one.id and _may_stay(other, desk)],
        )
        for one in desk.principles
        if one.id in desk.asked and one.id in entries
    ]


def _may_stay(principle: Principle, desk: Desk) -> bool:
    """Also one that the gate would reject: it stays if the person accepts it."""
    return principle.status == "adopted" or principle.id in desk.asked


def _answers(desk: Desk) -> dict[str, Origin]:
    """The failures of the round that waits, or for a finished run of all rounds, by prompt id."""
    rounds = desk.run.rounds() if desk.round is None else [desk.run.round(desk.round)]
    return {
        verdict.response.prompt.id: Origin(verdict.response.prompt.question, verdict.response.text)
        for one in rounds
        for verdict in one.verdicts()
        if verdict.label == "unacceptable"
    }
