"""What the files of a run say of each other: every verdict its response, every row its revision. Needs no manifest."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from iteralign import layout
from iteralign.errors import IteralignError
from iteralign.records import Draw, Record, RedTeamPrompt, Verdict
from iteralign.redteam.forms import in_forms
from iteralign.rundir.begun import prompts_of
from iteralign.rundir.manifest import Fault
from iteralign.rundir.rounds import kept_round, kept_rounds
from iteralign.rundir.stages import read_stage
from iteralign.settings.settings import load_settings

R = TypeVar("R", bound=Record)


def contradictions(run: Path) -> Iterator[Fault]:
    """Where a file can't be read, or doesn't fit another that it was made from."""
    sets = {}
    for name in layout.PROMPT_SETS:
        try:
            sets[name] = prompts_of(run, name)
        except IteralignError as error:
            yield Fault(layout.begun_with(name), f"can't be read: {error}")
    if len(sets) < len(layout.PROMPT_SETS):
        return
    try:
        forms = load_settings(run / layout.CONFIG).redteam.forms
    except IteralignError as error:
        yield Fault(layout.CONFIG, f"can't be read: {error}")
        return
    pool = in_forms(sets[layout.PROMPTS], forms)
    given, failures, left = iter(pool), dict[str, Verdict](), {prompt.id: prompt for prompt in pool}
    for one in (kept_round(run, -1), *kept_rounds(run)):
        read = _Stages(one.directory, one.directory.relative_to(run).as_posix())
        yield from _verdicts(read, sets)
        if (responses := read(layout.RESPONSES)) is not None:
            answered = [response.prompt for response in responses]
            left |= {prompt.id: prompt for prompt in in_forms(read(layout.GROWN) or (), forms)}
            draws = read(layout.DRAWS)
            first = sets[layout.BENIGN] if one.number < 0 else given if draws is None else _drawn(draws, left)
            if answered != [prompt for _, prompt in zip(answered, first, strict=False)]:
                yield read.fault(layout.RESPONSES, "answers other prompts than the run's")
        if one.number >= 0:
            verdicts = read(layout.VERDICTS) or ()
            failures |= {verdict.response.prompt.id: verdict for verdict in verdicts if verdict.label == "unacceptable"}
            yield from _learnt(read, failures)
        yield from read.unreadable


class _Stages:
    """The stages of one round, each read once."""

    def __init__(self, directory: Path, name: str) -> None:
        self.unreadable: list[Fault] = []
        self._directory = directory
        self._name = name
        self._kept: dict[str, Any] = {}

    def __call__(self, stage: layout.Stage[R]) -> list[R] | None:
        """A stage's records; None where it is not there, or can't be read."""
        if stage not in self._kept:
            self._kept[stage] = None
            try:
                self._kept[stage] = read_stage(self._directory, stage)
            except IteralignError as error:
                self.unreadable.append(self.fault(stage, f"can't be read: {error}"))
        found: list[R] | None = self._kept[stage]
        return found

    def fault(self, stage: layout.Stage[Any], what: str) -> Fault:
        """Of this stage's file."""
        return Fault(f"{self._name}/{stage.file}", what)


def _drawn(draws: Sequence[Draw], left: dict[str, RedTeamPrompt]) -> list[RedTeamPrompt]:
    """The prompts drawn, as the run began with them; each is drawn once, and is no longer `left`."""
    return [prompt for draw in draws if (prompt := left.pop(draw.prompt.id, None)) is not None]


def _verdicts(read: _Stages, sets: dict[str, list[RedTeamPrompt]]) -> Iterator[Fault]:
    responses, verdicts = read(layout.RESPONSES), read(layout.VERDICTS)
    if verdicts is not None and [verdict.response for verdict in verdicts] != list(responses or ()):
        yield read.fault(layout.VERDICTS, f"judges other responses than {layout.RESPONSES.file} has")
    for stage, name in ((layout.HELD_OUT_VERDICTS, layout.HELD_OUT), (layout.BENIGN_VERDICTS, layout.BENIGN_HELD_OUT)):
        measured = read(stage)
        if measured is not None and [verdict.response.prompt for verdict in measured] != sets[name]:
            yield read.fault(stage, f"was not measured on {layout.begun_with(name)}")


def _learnt(read: _Stages, failures: dict[str, Verdict]) -> Iterator[Fault]:
    revisions, rows = read(layout.REVISIONS) or (), read(layout.EXAMPLES) or ()
    for principle in read(layout.PRINCIPLES) or ():
        unknown = [prompt for prompt in principle.evidence if prompt not in failures]
        if unknown:
            yield read.fault(layout.PRINCIPLES, f"{principle.id} rests on {unknown[0]}, which did not fail")
            break
    for twin in read(layout.TWINS) or ():
        if not failures.keys() >= set(twin.response.prompt.parents):
            yield read.fault(layout.TWINS, f"{twin.response.prompt.id} stands beside a prompt that did not fail")
            break
    if any(failures.get(revision.failure.response.prompt.id) != revision.failure for revision in revisions):
        yield read.fault(layout.REVISIONS, f"revises answers that {layout.VERDICTS.file} does not call failures")
    learnt = Counter(row.prompt_id for row in rows if row.kind == "revision")
    passed = {one.response.prompt.id for one in revisions if one.verdict and one.verdict.label == "acceptable"}
    if learnt.keys() - passed:
        stranger = min(learnt.keys() - passed)
        yield read.fault(layout.EXAMPLES, f"has a row for {stranger}, no revision of which passed")
    for checkpoint in read(layout.CHECKPOINT) or ():
        if checkpoint.problem is None and checkpoint.examples != len(rows):
            said = f"was trained on {checkpoint.examples} rows; {layout.EXAMPLES.file} has {len(rows)}"
            yield read.fault(layout.CHECKPOINT, said)
