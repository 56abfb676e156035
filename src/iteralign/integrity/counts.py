"""What the files of a run say of each other: every verdict its response, every row its revision. Needs no manifest."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import IteralignError
from iteralign.records import Record, RedTeamPrompt, Verdict
from iteralign.rundir.directory import Stages, read_records
from iteralign.rundir.manifest import Fault

Read = Callable[[str], Sequence[Any] | None]
"""A stage's records by its name; None where it is not there."""


def contradictions(run: Path) -> Iterator[Fault]:
    """Where a file can't be read, or doesn't fit another that it was made from."""
    sets = {}
    for name in ("prompts", "held_out", "benign", "benign_held_out"):
        try:
            sets[name] = read_records(run / f"{name}.jsonl", RedTeamPrompt)
        except IteralignError as error:
            yield Fault(f"{name}.jsonl", f"can't be read: {error}")
    if len(sets) < 4:
        return
    places = sorted((run / "rounds").glob("[0-9]*"))
    given, failures = iter(sets["prompts"]), dict[str, Verdict]()
    for place in [run / "baseline", *places]:
        first = sets["benign"] if place.name == "baseline" else given
        found = list[Fault]()
        read = _reader(place, found)
        yield from _verdicts(place.relative_to(run), read, sets)
        if (responses := read("1_responses")) is not None:
            answered = [response.prompt for response in responses]
            if answered != [prompt for _, prompt in zip(answered, first, strict=False)]:
                yield Fault(_name(place, run, "1_responses"), "answers other prompts than the run's")
        if place.name != "baseline":
            failures |= {
                verdict.response.prompt.id: verdict
                for verdict in read("2_verdicts") or ()
                if verdict.label == "unacceptable"
            }
            yield from _learnt(place, run, read, failures)
        yield from found


def _verdicts(place: Path, read: Read, sets: dict[str, list[RedTeamPrompt]]) -> Iterator[Fault]:
    responses, verdicts = read("1_responses"), read("2_verdicts")
    if verdicts is not None and [verdict.response for verdict in verdicts] != list(responses or ()):
        yield Fault(f"{place.as_posix()}/2_verdicts.jsonl", "judges other responses than 1_responses.jsonl has")
    for stage, name in (("7_held_out", "held_out"), ("8_benign", "benign_held_out")):
        measured = read(stage)
        if measured is not None and [verdict.response.prompt for verdict in measured] != sets[name]:
            yield Fault(f"{place.as_posix()}/{stage}.jsonl", f"was not measured on {name}.jsonl")


def _learnt(place: Path, run: Path, read: Read, failures: dict[str, Verdict]) -> Iterator[Fault]:
    revisions, rows = read("4_revisions") or (), read("5_examples") or ()
    for principle in read("3_principles") or ():
        unknown = [prompt for prompt in principle.evidence if prompt not in failures]
        if unknown:
            yield Fault(_name(place, run, "3_principles"), f"{principle.id} rests on {unknown[0]}, which did not fail")
            break
    if any(failures.get(revision.failure.response.prompt.id) != revision.failure for revision in revisions):
        yield Fault(_name(place, run, "4_revisions"), "revises answers that 2_verdicts.jsonl does not call failures")
    learnt = Counter(row.prompt_id for row in rows if row.kind == "revision")
    passed = {one.response.prompt.id for one in revisions if one.verdict and one.verdict.label == "acceptable"}
    if learnt.keys() - passed:
        stranger = min(learnt.keys() - passed)
        yield Fault(_name(place, run, "5_examples"), f"has a row for {stranger}, no revision of which passed")
    checkpoint = read("6_checkpoint")
    if checkpoint and checkpoint[0].problem is None and checkpoint[0].examples != len(rows):
        yield Fault(
            f"{place.relative_to(run).as_posix()}/6_checkpoint.json",
            f"was trained on {checkpoint[0].examples} rows; 5_examples.jsonl has {len(rows)}",
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


def _name(place: Path, run: Path, stage: str) -> str:
    return f"{place.relative_to(run).as_posix()}/{stage}.jsonl"
