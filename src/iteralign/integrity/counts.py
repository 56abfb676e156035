"""What the files of a run say of each other: every verdict its response, every row its revision. Needs no manifest."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import IteralignError
from iteralign.records import Record, RedTeamPrompt, Verdict
from iteralign.rundir import layout
from iteralign.rundir.jsonl import read_records
from iteralign.rundir.manifest import Fault
from iteralign.rundir.stages import Stages

Read = Callable[[str], Sequence[Any] | None]
"""A stage's records by its name; None where it is not there."""


def contradictions(run: Path) -> Iterator[Fault]:
    """Where a file can't be read, or doesn't fit another that it was made from."""
    sets = {}
    for name in layout.PROMPT_SETS:
        try:
            sets[name] = read_records(run / layout.begun_with(name), RedTeamPrompt)
        except IteralignError as error:
            yield Fault(layout.begun_with(name), f"can't be read: {error}")
    if len(sets) < 4:
        return
    places = sorted((run / layout.ROUNDS).glob("[0-9]*"))
    given, failures = iter(sets[layout.PROMPTS]), dict[str, Verdict]()
    for place in [run / layout.BASELINE, *places]:
        first = sets[layout.BENIGN] if place.name == layout.BASELINE else given
        found = list[Fault]()
        read = _reader(place, found)
        yield from _verdicts(place.relative_to(run), read, sets)
        if (responses := read(layout.RESPONSES)) is not None:
            answered = [response.prompt for response in responses]
            if answered != [prompt for _, prompt in zip(answered, first, strict=False)]:
                yield Fault(_name(place, run, layout.RESPONSES), "answers other prompts than the run's")
        if place.name != layout.BASELINE:
            failures |= {
                verdict.response.prompt.id: verdict
                for verdict in read(layout.VERDICTS) or ()
                if verdict.label == "unacceptable"
            }
            yield from _learnt(place, run, read, failures)
        yield from found


def _verdicts(place: Path, read: Read, sets: dict[str, list[RedTeamPrompt]]) -> Iterator[Fault]:
    responses, verdicts = read(layout.RESPONSES), read(layout.VERDICTS)
    if verdicts is not None and [verdict.response for verdict in verdicts] != list(responses or ()):
        yield Fault(
            f"{place.as_posix()}/{layout.VERDICTS.file}", f"judges other responses than {layout.RESPONSES.file} has"
        )
    for stage, name in ((layout.HELD_OUT_VERDICTS, layout.HELD_OUT), (layout.BENIGN_VERDICTS, layout.BENIGN_HELD_OUT)):
        measured = read(stage)
        if measured is not None and [verdict.response.prompt for verdict in measured] != sets[name]:
            yield Fault(f"{place.as_posix()}/{stage.file}", f"was not measured on {layout.begun_with(name)}")


def _learnt(place: Path, run: Path, read: Read, failures: dict[str, Verdict]) -> Iterator[Fault]:
    revisions, rows = read(layout.REVISIONS) or (), read(layout.EXAMPLES) or ()
    for principle in read(layout.PRINCIPLES) or ():
        unknown = [prompt for prompt in principle.evidence if prompt not in failures]
        if unknown:
            yield Fault(
                _name(place, run, layout.PRINCIPLES), f"{principle.id} rests on {unknown[0]}, which did not fail"
            )
            break
    if any(failures.get(revision.failure.response.prompt.id) != revision.failure for revision in revisions):
        yield Fault(
            _name(place, run, layout.REVISIONS), f"revises answers that {layout.VERDICTS.file} does not call failures"
        )
    learnt = Counter(row.prompt_id for row in rows if row.kind == "revision")
    passed = {one.response.prompt.id for one in revisions if one.verdict and one.verdict.label == "acceptable"}
    if learnt.keys() - passed:
        stranger = min(learnt.keys() - passed)
        yield Fault(_name(place, run, layout.EXAMPLES), f"has a row for {stranger}, no revision of which passed")
    checkpoint = read(layout.CHECKPOINT)
    if checkpoint and checkpoint[0].problem is None and checkpoint[0].examples != len(rows):
        yield Fault(
            f"{place.relative_to(run).as_posix()}/{layout.CHECKPOINT.file}",
            f"was trained on {checkpoint[0].examples} rows; {layout.EXAMPLES.file} has {len(rows)}",
        )


def _reader(place: Path, found: list[Fault]) -> Read:
    """Reads a stage once; what can't be read goes to `found`."""
    kept: dict[str, Sequence[Any] | None] = {}

    def read(stage: str) -> Sequence[Any] | None:
        if stage not in kept:
            try:
                records = Stages(place).read(stage)
            except (IteralignError, OSError, UnicodeDecodeError) as error:
                found.append(Fault(f"{place.parent.name}/{place.name}/{stage}", f"can't be read: {error}"))
                records = None
            kept[stage] = [records] if isinstance(records, Record) else records
        return kept[stage]

    return read


def _name(place: Path, run: Path, stage: layout.Stage[Any]) -> str:
    return f"{place.relative_to(run).as_posix()}/{stage.file}"
