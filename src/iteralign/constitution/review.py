"""Review by a person: the loop of sittings, and the file in which decisions are made.

A sitting shows every principle that nobody has decided on yet. The person accepts, edits, merges or rejects each; an
edited one is tried again, and comes back in the next sitting only if it fails. The file is YAML that can be filled in
with any editor; `iteralign constitution review` fills in the same file.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Literal, ParamSpec, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from iteralign import layout
from iteralign.constitution.bench import Bench
from iteralign.constitution.gate import Gate, figures, try_out
from iteralign.errors import ConfigError, ReviewNeeded
from iteralign.files import write_text
from iteralign.prompts.fitness import why_unfit
from iteralign.records import Event, Principle, Verdict
from iteralign.text.bounded import load_yaml, read_yaml
from iteralign.text.similarity import by_words

P = ParamSpec("P")
T = TypeVar("T")

Reviewer = Callable[[int, int, Sequence[Principle], Sequence[Principle], Sequence[Verdict]], list[Principle]]
"""(round, sitting from 1, the round's principles, adopted ones, the round's failures) -> the round's principles, each
open one decided. Raises ReviewNeeded while a person has not decided."""

Decision = Literal["accept", "edit", "merge", "reject"]

_NEIGHBOURS = 3
_QUESTIONS = 5

_HEAD = """\
# Review of {what}. For each one set `decision`:
#   accept   it is adopted as it stands
#   edit     change `text` (and `other_wording`), and set decision to edit; it is tried again before it is adopted
#   merge    it is dropped, and its evidence goes to the principle whose id you write under `into`
#   reject   it is dropped
# and say why under `reason`. The rest is for you to read. Then: iteralign {then}
"""


class Keep(Protocol):
    """Where a round's stages are kept (`rundir`'s Stages)."""

    def __call__(self, stage: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`step(*args, **kwargs)`, kept as `stage`; or what is kept there already."""
        ...


def review(
    keep: Keep,
    reviewer: Reviewer,
    bench: Bench,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    gate: Gate | None,
    round_number: int,
) -> list[Principle]:
    """Sittings until no principle is open. What a person edited and what then passed its trial has status `proposed`."""
    current = list(principles)
    for sitting in count(1):
        if not any(map(is_open, current)):
            break
        current = keep(
            layout.REVIEWED.sitting(sitting), reviewer, round_number, sitting, current, adopted, bench.failures
        )
        current = keep(layout.TRIED_AGAIN.sitting(sitting), _try_edited, bench, current, gate, round_number)
    return current


def is_open(principle: Principle) -> bool:
    """Whether a person has yet to decide: not on what was merged, nor on what is unfit by its form alone."""
    by = principle.history[-1].by if principle.history else ""
    edited = any(event.kind == "edited" for event in principle.history)
    if principle.status == "rejected":
        return by == "gate" or (by == "form" and edited)
    return principle.status == "contradicting" or (principle.status == "proposed" and not edited)


def _try_edited(bench: Bench, principles: Sequence[Principle], gate: Gate | None, round_number: int) -> list[Principle]:
    fit = [_checked(principle, round_number) for principle in principles]
    return fit if gate is None else try_out(bench, fit, gate, round_number)


def _checked(principle: Principle, round_number: int) -> Principle:
    """An edited text can be as unfit as a proposed one."""
    reason = why_unfit(principle.text) if principle.status == "proposed" else None
    if reason is None:
        return principle
    return principle.happened(Event(kind="rejected", round=round_number, by="form", reason=reason), status="rejected")


class SheetEntry(BaseModel):
    """What is read of one principle in the file; whatever else stands there is for the person."""

    model_config = ConfigDict(extra="ignore")

    id: str
    text: str
    other_wording: str = ""
    decision: Decision | None = None
    into: str | None = None
    reason: str | None = None
    by: str | None = None
    """Who decided; None for the reviewer of the whole file."""


class Sheet(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    reviewer: str | None = None
    principles: list[SheetEntry]


class FileReview:
    """Implements `Reviewer` with RUN/rounds/NNNN/review-1.yaml, review-2.yaml ... in the directory of a run."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def __call__(
        self,
        round_number: int,
        sitting: int,
        principles: Sequence[Principle],
        adopted: Sequence[Principle],
        failures: Sequence[Verdict],
    ) -> list[Principle]:
        path = self.run / layout.round_directory(round_number) / layout.review_sheet(sitting)
        asked = open_ids(principles)
        if not path.exists():
            questions = {failure.response.prompt.id: failure.response.prompt.question for failure in failures}
            write_text(path, sheet(self.run, principles, adopted, asked, questions, round_number))
        decided, waiting = decide(read_sheet(path), principles, adopted, asked, path, round_number)
        if waiting:
            named = shlex.quote(str(self.run))
            raise ReviewNeeded(
                f"Round {round_number}: {len(waiting)} principles wait for a person ({', '.join(waiting[:5])}"
                f"{' ...' if len(waiting) > 5 else ''}). Decide by `iteralign constitution review {named}`, or in "
                f"{path}, then go on by `iteralign resume {named}`."
            )
        return decided


def open_ids(principles: Sequence[Principle], adopted_too: bool = False) -> list[str]:
    """Ids of those that a person is asked about; of a finished run, the adopted ones are among them."""
    return [
        principle.id
        for principle in principles
        if is_open(principle) or (adopted_too and principle.status == "adopted")
    ]


def sheet(
    run: Path,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    asked: Sequence[str],
    questions: Mapping[str, str],
    round_number: int | None = None,
) -> str:
    """The file to be filled in. `questions` by prompt id; without a round it is a finished run's whole constitution."""
    entries = [_to_read(one, principles, adopted, questions) for one in principles if one.id in asked]
    what = "the constitution" if round_number is None else f"the principles of round {round_number}"
    then = f"constitution review {run}" if round_number is None else f"resume {run}"
    body = yaml.safe_dump({"reviewer": None, "principles": entries}, sort_keys=False, allow_unicode=True, width=100)
    return _HEAD.format(what=what, then=then) + body


def filled(text: str, decisions: Sheet) -> str:
    """The file `text` with these decisions in it; what else it says stays."""
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    data = load_yaml(text)
    made = {entry.id: entry.model_dump(exclude={"by"} if entry.by is None else None) for entry in decisions.principles}
    entries = [{**entry, **made.get(entry["id"], {})} for entry in data["principles"]]
    data = {**data, "reviewer": decisions.reviewer, "principles": entries}
    return head + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def read_sheet(path: Path) -> Sheet:
    """Raises ConfigError naming file and field."""
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The review {path} can't be read: {error}") from error
    try:
        return Sheet.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"The review {path}: {field}: {first['msg']} (got {first['input']!r:.200}).") from error


def decide(
    decisions: Sheet,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    asked: Sequence[str],
    where: Path,
    round_number: int | None = None,
) -> tuple[list[Principle], list[str]]:
    """(all principles with the decisions applied, ids of those asked about that have no decision).

    Raises ConfigError for a decision that can't be carried out.
    """
    entries = {entry.id: entry for entry in decisions.principles}
    strangers = sorted(entries.keys() - set(asked))
    if strangers:
        raise ConfigError(f"{where}: {', '.join(strangers)} is no principle that waits for a decision here.")
    staying = {
        one.id
        for one in (*adopted, *principles)
        if (one.status == "adopted" and one.id not in asked) or _decision(entries, one.id) in ("accept", "edit")
    }
    everybody = (decisions.reviewer or "").strip() or "reviewer"
    waiting = [id for id in asked if _decision(entries, id) is None]
    decided = [
        _apply(entries[one.id], one, staying, (entries[one.id].by or "").strip() or everybody, where, round_number)
        if one.id in asked and one.id not in waiting
        else one
        for one in principles
    ]
    return decided, waiting


def _decision(entries: dict[str, SheetEntry], id: str) -> Decision | None:
    return entries[id].decision if id in entries else None


def _apply(
    entry: SheetEntry, principle: Principle, staying: set[str], by: str, where: Path, round_number: int | None
) -> Principle:
    text, other = _in_one_line(entry.text), _in_one_line(entry.other_wording)
    changed = (text, other) != (_in_one_line(principle.text), _in_one_line(principle.other_wording))
    if changed and entry.decision != "edit":
        raise ConfigError(f"{where}: {entry.id}: its text was changed, so its decision must be edit.")
    reason = (entry.reason or "").strip()
    match entry.decision:
        case "accept":
            return principle.happened(Event(kind="adopted", round=round_number, by=by, reason=reason), status="adopted")
        case "edit":
            if not changed:
                raise ConfigError(f"{where}: {entry.id}: its decision is edit, but its text is what it was.")
            event = Event(kind="edited", round=round_number, by=by, reason=f"{reason} (was: {principle.text})".strip())
            return principle.happened(event, status="proposed", text=text, other_wording=other, trial=None)
        case "merge":
            if entry.into not in staying - {entry.id}:
                raise ConfigError(f"{where}: {entry.id}: `into` must be the id of a principle that stays.")
            event = Event(kind="merged", round=round_number, by=by, reason=reason, other=entry.into)
            return principle.happened(event, status="merged")
        case _:
            return principle.happened(
                Event(kind="rejected", round=round_number, by=by, reason=reason), status="rejected"
            )


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _to_read(
    principle: Principle,
    principles: Sequence[Principle],
    adopted: Sequence[Principle],
    questions: Mapping[str, str],
) -> dict[str, object]:
    """One entry of the file, with all that helps to decide."""
    return {
        "id": principle.id,
        "decision": None,
        "reason": None,
        "into": None,
        "text": principle.text,
        "other_wording": principle.other_wording,
        "category": principle.category,
        "so_far": so_far(principle),
        "figures": figures(principle.trial) if principle.trial else "not tried",
        "neighbours": neighbours(principle, [*adopted, *principles]),
        "answers_failures": len(principle.evidence),
        "such_as": [questions[id] for id in principle.evidence if id in questions][:_QUESTIONS],
    }


def so_far(principle: Principle) -> str:
    """What the machinery made of it, in words."""
    last = principle.history[-1]
    match principle.status:
        case "contradicting":
            others = [event.other for event in principle.history if event.kind == "contradicting" and event.other]
            return f"contradicts {', '.join(others)}"
        case "rejected":
            return f"{last.by} would reject it: {last.reason}"
        case _:
            return "passed its trial" if principle.trial else "proposed"


def neighbours(principle: Principle, known: Sequence[Principle]) -> list[str]:
    """The most similar principles, each as `id (likeness): text`."""
    others = [other for other in known if other.id != principle.id and other.status in ("adopted", "proposed")]
    (alike,) = by_words([principle.text], [other.text for other in others])
    order = sorted(range(len(others)), key=lambda index: (-alike[index], index))[:_NEIGHBOURS]
    return [f"{others[index].id} ({alike[index]:.2f}): {others[index].text}" for index in order]
