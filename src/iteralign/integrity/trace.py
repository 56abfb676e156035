"""`iteralign trace`: the chain from prompt over verdict, principle, revision and row to the weights, with places and hashes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import ConfigError
from iteralign.integrity.verify import verify_run
from iteralign.records import Checkpoint, Principle, Record, RedTeamPrompt, Response, Revision, TrainingExample, Verdict
from iteralign.rundir.manifest import entry_of, names_in
from iteralign.rundir.reader import Run, read_run
from iteralign.rundir.rounds import KeptRound, kept_round

_SHOWN = 120  # characters of a text


@dataclass(frozen=True)
class Step:
    """One link of the chain."""

    kind: str
    """prompt, response, verdict, principle, twin, revision, row, checkpoint, weights or model."""
    where: str
    """File and line, relative to the run."""
    sha256: str
    """Of the file."""
    text: str


@dataclass(frozen=True)
class Trace:
    """What a run says of one prompt, principle or row."""

    run: Path
    asked: str
    """`prompt`, `principle` or `row`."""
    id: str
    steps: list[Step]
    problems: list[str] = field(default_factory=list)
    """What `iteralign verify` finds: where there is anything, the chain can't be relied on."""


@dataclass(frozen=True)
class _Wanted:
    """What belongs to the chain."""

    asked: str
    prompts: frozenset[str]
    principles: frozenset[str]
    row: str | None = None
    """Its file and line, where a row was asked for."""

    def principle(self, one: Principle) -> bool:
        return one.id in self.principles or (self.asked == "prompt" and bool(self.prompts.intersection(one.evidence)))

    def revision(self, one: Revision) -> bool:
        used = not self.principles.isdisjoint(principle.id for principle in one.principles)
        return one.response.prompt.id in self.prompts if self.asked != "principle" else used

    def twin(self, one: Verdict) -> bool:
        prompt = one.response.prompt
        if self.asked == "principle":
            return prompt.principle in self.principles
        return not self.prompts.isdisjoint((prompt.id, *prompt.parents))

    def example(self, one: TrainingExample, where: str) -> bool:
        match self.asked:
            case "row":
                return where == self.row
            case "principle":
                return not self.principles.isdisjoint(one.principles)
            case _:
                return one.prompt_id in self.prompts


def trace_run(run: Path, ident: str) -> Trace:
    """The chain of a prompt or principle by its id, or of a row by its round and line, such as `2:14`.

    Raises ConfigError for an id that the run does not know.
    """
    opened = read_run(run)
    wanted, links = _wanted(opened, ident), _Links(opened)
    steps = [*links.prompts(wanted), *links.rounds(wanted)]
    return Trace(run, wanted.asked, ident, steps, verify_run(run, big=False).problems)


class _Links:
    """Finds the steps in the files of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._sha256 = cache(lambda name: entry_of(run.path / name).sha256)

    def prompts(self, wanted: _Wanted) -> Iterator[Step]:
        for name in layout.PROMPT_SETS:
            rows = self.run.prompts(name)
            yield from self._lines("prompt", layout.begun_with(name), rows, lambda one, _: one.id in wanted.prompts)

    def rounds(self, wanted: _Wanted) -> Iterator[Step]:
        """What happened in each round, and the model at the end where any of it was trained on."""
        learnt = False
        for one in (self.run.baseline, *self.run.rounds()):
            of_round = list(self._stages(one, wanted))
            yield from of_round
            if any(step.kind == "row" for step in of_round):
                learnt = True
                yield from self._weights(one)
        if learnt:
            path = self.run.path
            files = [name for name in names_in(path, path / layout.MODEL) if name.endswith(".safetensors")]
            yield from (Step("model", name, self._sha256(name), "the model that the run ended with") for name in files)

    def _stages(self, one: KeptRound, wanted: _Wanted) -> Iterator[Step]:
        answered: Callable[[Any, str], bool] = lambda one, _: one.prompt.id in wanted.prompts  # noqa: E731
        judged: Callable[[Any, str], bool] = lambda one, _: one.response.prompt.id in wanted.prompts  # noqa: E731
        stages: Sequence[tuple[layout.Stage[Any], str, Callable[[Any, str], bool]]] = (
            (layout.RESPONSES, "response", answered),
            (layout.VERDICTS, "verdict", judged),
            (layout.PRINCIPLES, "principle", lambda one, _: wanted.principle(one)),
            (layout.TWINS, "twin", lambda one, _: wanted.twin(one)),
            (layout.REVISIONS, "revision", lambda one, _: wanted.revision(one)),
            (layout.EXAMPLES, "row", wanted.example),
            (layout.HELD_OUT_VERDICTS, "verdict", judged),
            (layout.BENIGN_VERDICTS, "verdict", judged),
        )
        for stage, kind, belongs in stages:
            yield from self._lines(kind, _file(one, stage), one.read(stage), belongs)

    def _weights(self, one: KeptRound) -> Iterator[Step]:
        checkpoint = one.checkpoint()
        if checkpoint is None:
            return
        name = _file(one, layout.CHECKPOINT)
        yield Step("checkpoint", name, self._sha256(name), _told(checkpoint))
        if checkpoint.kind != "base":
            for file in names_in(self.run.path, self.run.path / checkpoint.path):
                yield Step("weights", file, self._sha256(file), f"in use after round {checkpoint.round}")

    def _lines(
        self, kind: str, name: str, records: Sequence[Any], belongs: Callable[[Any, str], bool]
    ) -> Iterator[Step]:
        for number, record in enumerate(records, start=1):
            where = f"{name}:{number}"
            if belongs(record, where):
                yield Step(kind, where, self._sha256(name), _told(record))


def _wanted(run: Run, ident: str) -> _Wanted:
    number, _, line = ident.partition(":")
    if number.isdecimal() and line.isdecimal():
        return _row(run, ident, int(number), int(line))
    rounds = run.rounds()
    for one in rounds:
        for principle in one.principles():
            if principle.id == ident:
                return _Wanted("principle", frozenset(principle.evidence), frozenset([ident]))
    if any(prompt.id == ident for name in layout.PROMPT_SETS for prompt in run.prompts(name)):
        used = {
            principle.id
            for one in rounds
            for revision in one.revisions()
            if revision.response.prompt.id == ident
            for principle in revision.principles
        }
        return _Wanted("prompt", frozenset([ident]), frozenset(used))
    raise ConfigError(
        f"{run.path} knows no prompt or principle {ident}. Ids stand in {layout.begun_with(layout.PROMPTS)} and "
        f"{layout.CONSTITUTION}; a row is named by round and line of {layout.EXAMPLES.file}, such as 2:14."
    )


def _row(run: Run, ident: str, number: int, line: int) -> _Wanted:
    one = kept_round(run.path, number)
    rows = one.examples()
    if not 0 < line <= len(rows):
        raise ConfigError(f"Round {number} of {run.path} has {len(rows)} rows; there is no {ident}.")
    row = rows[line - 1]
    where = f"{_file(one, layout.EXAMPLES)}:{line}"
    return _Wanted("row", frozenset([row.prompt_id]), frozenset(row.principles), where)


def _file(one: KeptRound, stage: layout.Stage[Any]) -> str:
    return f"{layout.round_directory(one.number)}/{stage.file}"


def _told(record: Record) -> str:
    """A record in a few words."""
    match record:
        case RedTeamPrompt():
            return _short(record.question)
        case Response():
            return _short(record.text)
        case Verdict() if record.response.prompt.principle is not None:
            prompt = record.response.prompt
            beside = f"{prompt.id} beside {', '.join(prompt.parents)}"
            return f"{beside}: {_short(prompt.question)} {record.label}: {_short(record.response.text)}"
        case Verdict():
            kind = f" ({record.category})" if record.category else ""
            return f"{record.label}{kind} by {record.judge or 'the judge'}: {_short(record.reason or record.response.text)}"
        case Principle():
            return f"{record.id} {record.status}: {_short(record.text)}"
        case Revision():
            label = record.verdict.label if record.verdict else "not judged"
            under = ", ".join(principle.id for principle in record.principles)
            return f"try {record.attempt + 1} under {under}: {label}: {_short(record.response.text)}"
        case TrainingExample():
            return f"{record.kind} of round {record.round}: {_short(record.completion)}"
        case Checkpoint():
            state = record.problem or f"{record.examples} rows, {record.steps} steps, loss {record.loss}"
            return f"{record.path}, from {record.start or 'the weights before'}: {state}"
        case _:
            return ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."
