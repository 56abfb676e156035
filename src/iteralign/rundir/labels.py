"""What people say of a run's answers, beside what its judge said: lines of labels.jsonl, of which the last on an answer holds.

Nothing of the run itself changes. Answers that people pick say little of the judge's errors, since what looks wrong is picked.
So there is an order by chance, and what is labelled from its beginning on without a gap is a random sample.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import ValidationError

from iteralign import layout
from iteralign.errors import ConfigError
from iteralign.files import append_line, read_log
from iteralign.records import Label, Record, Verdict
from iteralign.rundir.desk import DecidedMeanwhile, alone
from iteralign.rundir.reader import Run
from iteralign.rundir.rounds import kept_round
from iteralign.scoreboard.metrics import final
from iteralign.text.characters import Text

STAGES = {str(stage): stage for stage in (layout.VERDICTS, layout.HELD_OUT_VERDICTS)}
"""Those whose verdicts people can put a label beside."""


class Place(NamedTuple):
    """Where a verdict stands."""

    round: int
    """-1: of the base model, before the first round."""
    stage: str
    prompt: str
    """The prompt's id."""


class PersonLabel(Record):
    """What a person says of an answer."""

    round: int
    stage: Text
    prompt: Text
    answer: Text
    """Hash of its text: the label is of no other."""
    label: Label | None
    """undetermined: the person can't tell; None: taken back."""
    by: Text = ""
    time: Text = ""

    @property
    def place(self) -> Place:
        return Place(self.round, self.stage, self.prompt)


def labels_of(run: Run) -> dict[Place, PersonLabel]:
    """The labels that hold. Raises ConfigError for a line that is none."""
    path = run.path / layout.LABELS
    try:
        read = [PersonLabel.model_validate(line) for line in read_log(path)]
    except ValidationError as error:
        raise ConfigError(f"{path} has a line that is no label: {error.errors()[0]['msg']}. Take it out.") from error
    last = {one.place: one for one in read}
    return {place: one for place, one in last.items() if one.label is not None}


def give_label(run: Run, place: Place, label: Label | None, seen: Label | None, by: str) -> Verdict:
    """Keep what a person says who saw the label `seen` there; the judge's verdict. Raises DecidedMeanwhile where another
    stands there now, ConfigError where there is no such answer; then nothing is kept."""
    verdict = next((one for one in _verdicts(run, place) if one.response.prompt.id == place.prompt), None)
    if verdict is None:
        raise ConfigError(f"{run.path} has no judged answer to {place.prompt!r} there. Reload the page.")
    path = run.path / layout.LABELS
    with alone(path):
        there = labels_of(run).get(place)
        if there is not None and there.label != seen:
            raise DecidedMeanwhile(
                f"{there.by or 'Somebody'} has said meanwhile: {there.label}. Look at it again first."
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        given = PersonLabel(**place._asdict(), answer=_name(verdict), label=label, by=by, time=now)
        append_line(path, given.model_dump())
    return verdict


def labelled(run: Run) -> list[tuple[Verdict, PersonLabel]]:
    """The verdicts beside which a person's label stands."""
    found = labels_of(run)
    files = {(place.round, place.stage): place for place in found}
    return [
        (verdict, label)
        for place in files.values()
        for verdict in _verdicts(run, place)
        if (label := found.get(place._replace(prompt=verdict.response.prompt.id))) is not None
        and label.answer == _name(verdict)
    ]


def drawn(run: Run) -> Iterator[tuple[Place, Verdict]]:
    """All held-out answers, the base model's and the last, in an order by chance that nothing of the answers decides."""
    rows = run.metrics()
    found = [
        (Place(number, str(layout.HELD_OUT_VERDICTS), verdict.response.prompt.id), verdict)
        for number in dict.fromkeys((rows[0].round, final(rows).round))
        for verdict in kept_round(run.path, number).held_out()
    ]
    yield from sorted(found, key=lambda one: hashlib.sha256(repr(tuple(one[0])).encode()).digest())


def sample(run: Run) -> list[tuple[Verdict, PersonLabel]]:
    """Those labelled from the beginning of that order on, up to the first that is not: a random sample."""
    found, kept = labels_of(run), list[tuple[Verdict, PersonLabel]]()
    if not found:
        return kept
    for place, verdict in drawn(run):
        label = found.get(place)
        if label is None or label.answer != _name(verdict):
            break
        kept.append((verdict, label))
    return kept


def _verdicts(run: Run, place: Place) -> list[Verdict]:
    if place.stage not in STAGES:
        raise ConfigError(f"There are no verdicts to be labelled in {place.stage!r}.")
    return kept_round(run.path, place.round).read(STAGES[place.stage])


def _name(verdict: Verdict) -> str:
    return hashlib.sha256(verdict.response.text.encode()).hexdigest()[:16]
