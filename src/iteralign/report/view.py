"""The view model of a run: everything that is shown of it, in sections, read from the run directory and bounded in size.

Each section has a function of its own, so that a page that is live makes anew only what has changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import iteralign
from iteralign import layout
from iteralign.integrity.verify import verify_run
from iteralign.oracles.budget import Total
from iteralign.records import PlaceTrial
from iteralign.redteam.forms import in_forms
from iteralign.report.answers import Pair, PairSet, benign_pairs, held_out_pairs, revision_pairs, sampled
from iteralign.report.asked import AskedMap, AskedRounds
from iteralign.report.chart import Curve
from iteralign.report.curves import curves
from iteralign.report.gains import Gained, Headline, cost_of, gained, headlines
from iteralign.report.limits import limits
from iteralign.report.principles import PrincipleTable, Rounds, principle_table
from iteralign.report.tables import CategoryChange, Heat, StageTime, category_changes, endpoints, heat, stage_times
from iteralign.rundir.reader import Run, read_run
from iteralign.scoreboard.ending import Ending, ending
from iteralign.scoreboard.guard_rails import Intervention
from iteralign.scoreboard.measurement import Measurement
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import differing_keys, load_settings
from iteralign.text.bounded import read_text

MOST_ROWS = 200
"""Rounds in the table."""


@dataclass(frozen=True)
class Facts:
    """What the page is about."""

    name: str
    model: str
    judge: str
    state: str
    written: str
    version: str


@dataclass(frozen=True)
class Result:
    """What was gained, or why nothing was."""

    problems: list[str]
    """Why the run is not what was computed; empty where it is."""
    ending: Ending | None
    """None while the run goes on."""
    learnt: bool
    """Whether weights that a round trained are in use."""
    gained: Gained
    headlines: list[Headline]
    caution: str | None
    """Why these are not to be believed before the answers are read; None where nothing speaks against them."""


@dataclass(frozen=True)
class Did:
    """What the run did, by example."""

    of: PairSet | None
    """The set that the example is of; None where nothing was mended."""
    principles: PrincipleTable


@dataclass(frozen=True)
class RoundsShown:
    """What was measured, round by round."""

    curves: list[Curve]
    rows: list[RoundMetrics]
    left_out: int
    interventions: list[Intervention]


@dataclass(frozen=True)
class Constitution:
    """Its principles."""

    principles: PrincipleTable
    places: list[PlaceTrial]
    """Where principles were tried to stand; empty where the settings say it."""


@dataclass(frozen=True)
class Failures:
    """What was asked and what failed."""

    heat: Heat
    categories: list[CategoryChange]
    asked: AskedMap


@dataclass(frozen=True)
class Made:
    """How the run was made, and what it took."""

    stages: list[StageTime]
    calls: dict[str, Total]
    """By step."""
    endpoints: list[str]
    changed_settings: str
    settings: str
    environment: dict[str, Any]

    @property
    def cost(self) -> str:
        """In US dollars."""
        return cost_of(self.calls.values())

    @property
    def seconds(self) -> float:
        """Wall clock of the stages."""
        return sum(stage.seconds for stage in self.stages)


@dataclass(frozen=True)
class View:
    """All sections, in the order of the page."""

    facts: Facts
    result: Result
    did: Did
    rounds: RoundsShown
    constitution: Constitution
    answers: list[PairSet]
    failures: Failures
    made: Made
    limits: list[str]


def view_of(run_dir: Path, *, check: bool = True) -> View:
    """Read a run. Raises RunDirectoryError. A run that goes on is shown as far as it is. `check` as of `result`."""
    run = read_run(run_dir)
    rows = run.metrics()
    base, after = run.before_and_after()
    rounds, asking = Rounds(), AskedRounds(run.settings.form.name)
    learnt = sampled("training", "Training prompts", _learnt(run, rows, rounds, asking), folded=True)
    answers = [*measured_answers(base, after), learnt]
    principles = principle_table(*run.ledger(), rounds)
    forms = run.settings.redteam.forms
    pool = (again for prompt in chain(run.each_prompt(), asking.grown) for again in in_forms([prompt], forms))
    return View(
        facts=facts(run, rows),
        result=result(run, rows, check=check),
        did=did(answers, principles),
        rounds=rounds_shown(run, rows),
        constitution=Constitution(principles, run.baseline.places()),
        answers=answers,
        failures=Failures(
            heat(rounds.failed, rounds.judged), category_changes(base.held_out, after.held_out), asking.map(pool)
        ),
        made=made(run),
        limits=limits(run.settings, run.judges, rows, base, after, finished=run.finished),
    )


def facts(run: Run, rows: list[RoundMetrics]) -> Facts:
    """What the run is, and how far."""
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Facts(run.name, run.settings.model.path, run.judge, _state(run, rows), written, iteralign.__version__)


def result(run: Run, rows: list[RoundMetrics], *, check: bool = True) -> Result:
    """What was gained so far; `check`: whether all files are what was computed, which takes reading them."""
    return Result(
        problems=verify_run(run.path, big=False).problems if check else [],
        ending=ending(rows) if run.finished else None,
        learnt=rows[-1].weights >= 0,
        gained=gained(rows, run.ledger()[0], run.spent(), sum(run.seconds().values())),
        headlines=headlines(rows[0], final(rows)),
        caution="; ".join(final(rows).cautions) or None,
    )


def did(answers: list[PairSet], principles: PrincipleTable) -> Did:
    """The first set of those in which something was mended, and the principles."""
    return Did(next((item for item in answers if item.example is not None), None), principles)


def rounds_shown(run: Run, rows: list[RoundMetrics]) -> RoundsShown:
    """The curves and the table."""
    kept = _interesting(rows)
    return RoundsShown(curves([(run.name, rows)]), kept, len(rows) - len(kept), run.interventions())


def measured_answers(base: Measurement, after: Measurement) -> list[PairSet]:
    """Those to the prompts that nothing was trained on."""
    return [
        sampled("held-out", "Held-out red-team prompts", held_out_pairs(base.held_out, after.held_out), folded=True),
        sampled("benign", "Held-out benign prompts", benign_pairs(base.benign, after.benign), folded=False),
    ]


def made(run: Run) -> Made:
    """Settings, environment, cost and time."""
    return Made(
        stages=stage_times(run.each_timing()),
        calls=run.spent(),
        endpoints=endpoints(run.path / layout.ENDPOINTS),
        changed_settings=_changed(run),
        settings=read_text(run.path / layout.CONFIG),
        environment=run.environment,
    )


def _learnt(run: Run, rows: list[RoundMetrics], rounds: Rounds, asking: AskedRounds) -> Iterator[Pair]:
    """The failures of all rounds with their revisions; fills `rounds` and `asking` on the way, so that every round is read
    once."""
    trained = {row.round: row.trained for row in rows}
    for one in run.rounds():
        revisions, verdicts = one.revisions(), one.verdicts()
        rounds.add(verdicts, revisions, one.examples(), trained.get(one.number, False))
        asking.wrote(one.grown())
        asking.add(one.number, verdicts, one.draws(), trained.get(one.number, False))
        yield from revision_pairs(revisions, one.number)


def _state(run: Run, rows: list[RoundMetrics]) -> str:
    done, planned = len(rows) - 1, run.planned_rounds()
    if not run.finished:
        return f"not finished when this page was written: {done} of {planned} rounds done"
    return "ended early, see below" if rows[-1].stopped else f"finished, {done} rounds"


def _interesting(rows: list[RoundMetrics]) -> list[RoundMetrics]:
    """All rounds, or where there are many those that trained or were measured, the first MOST_ROWS of them and the last."""
    if len(rows) <= MOST_ROWS:
        return rows
    kept = [row for row in rows if row.trained or row.measured is not None or row.round < 0]
    return [*kept[: MOST_ROWS - 1], kept[-1]] if len(kept) > MOST_ROWS else kept


def _changed(run: Run) -> str:
    """The settings that are not the defaults, one a line."""
    oracle = {"kind": "rules"} if run.settings.oracle.judge is None else {"judge": {"model": ""}}
    plain = load_settings({"model": {"path": ""}, "data": {"prompts": ""}, "oracle": oracle})
    given = ("model.path", "data.prompts", "oracle.judge.model")
    lines = [
        f"{key}: {value}" + ("" if key in given else f"   (default {default})")
        for key, (default, value) in differing_keys(plain, run.settings).items()
    ]
    return "\n".join([f"oracle.kind: {run.settings.oracle.kind}", *lines])
