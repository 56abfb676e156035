"""Around the loop: the base model measured, the loop driven, and after each round its row and the constitution written."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from iteralign import layout
from iteralign.algorithm import Round, iteralign
from iteralign.constitution.ledger import in_force, tally
from iteralign.records import Checkpoint, Principle, Verdict
from iteralign.redteam.orders import Order
from iteralign.rundir.directory import RunDirectory
from iteralign.rundir.jsonl import as_lines
from iteralign.rundir.stages import Stages
from iteralign.runs import build
from iteralign.runs.constitution_files import ConstitutionFiles
from iteralign.runs.curves import Curves
from iteralign.runs.parts import Parts
from iteralign.runs.progress import Progress, reported
from iteralign.runs.steps import RunSteps
from iteralign.scoreboard.ending import why_not_adopted, why_not_mended
from iteralign.scoreboard.guard_rails import Standing
from iteralign.scoreboard.measurement import with_numbers
from iteralign.scoreboard.metrics import RoundMetrics, spent_tokens
from iteralign.targets.when_used import LoadedWhenUsed


@dataclass
class Outcome:
    """What a run left behind."""

    directory: Path
    metrics: list[RoundMetrics]
    constitution: list[Principle]
    """The adopted principles."""
    checkpoint: Checkpoint
    undetermined: list[Verdict] = field(default_factory=list)
    """Answers that nobody could judge; they count as neither acceptable nor not."""


def align(run: RunDirectory, parts: Parts, progress: Progress) -> Outcome:
    """All rounds of a run, from where it was stopped."""
    settings = run.settings
    order = build.build_order(settings, run.prompts(layout.PROMPTS))
    if not parts.target.can_score and settings.measure.capability is not None:
        progress.note("The target can't tell how likely it finds a text, so there is no capability check.")
    if not parts.target.can_score and settings.revision.best_of > 1:
        logging.getLogger(__name__).warning(
            "The target can't tell how likely it finds a text, so there is no choosing among several revisions "
            "(revision.best_of %d): the first that passes is taken.",
            settings.revision.best_of,
        )
    parts = replace(parts, target=LoadedWhenUsed(parts.target))
    steps = _steps(run, parts, progress, order)
    with steps.early.finishing():
        return _all_rounds(run, parts, steps, progress)


def _steps(run: RunDirectory, parts: Parts, progress: Progress, order: Order) -> RunSteps:
    def stages(number: int) -> Stages:
        if number < 0:
            return reported(run.baseline(), None, order.rounds, progress)
        return reported(run.round(number), number, order.rounds, progress)

    sets = {name: run.prompts(name) for name in layout.PROMPT_SETS}
    known = [prompt for prompts in sets.values() for prompt in prompts]
    apart = [prompt for name in layout.PROMPT_SETS if name != layout.PROMPTS for prompt in sets[name]]
    return RunSteps(
        run.settings,
        parts,
        stages,
        order,
        held_out=sets[layout.HELD_OUT],
        benign_held_out=sets[layout.BENIGN_HELD_OUT],
        reviewer=build.build_reviewer(run.settings, run.path),
        growth=build.build_growth(run.settings, parts.oracle, known),
        twins=build.build_twins(run.settings, parts.oracle, apart),
    )


def _all_rounds(
    run: RunDirectory,
    parts: Parts,
    steps: RunSteps,
    progress: Progress,
) -> Outcome:
    given = run.given_constitution(run.path)
    benign = run.prompts(layout.BENIGN)
    steps.place(parts.base, run.prompts(layout.PROMPTS), benign, given)
    base = steps.baseline(parts.base, benign)
    metrics = [with_numbers(RoundMetrics(round=-1), base, ())]
    curves = Curves(parts.tracking, run.path)
    curves.tell(metrics[0], given)
    progress.round_done(metrics[0], steps.order.rounds)

    standing, undetermined, trained = Standing.first(base), list[Verdict](), TrainedWeights(run)
    weights, least = parts.base, run.settings.rounds.min_failures
    with ConstitutionFiles(run, given) as constitution:
        for done in iteralign(base, steps.begin, constitution=given, min_failures=least):
            weights = done.weights
            constitution.round_done(done.ledger, tally(done.verdicts, done.examples, done.trained))
            undetermined += [verdict for verdict in done.verdicts if verdict.label == "undetermined"]
            last = steps.order.last(done.number)
            row = _row(done, steps.order.ended(), collecting=not last and len(done.failures) < least)
            if done.measured is not None:
                row = with_numbers(row, done.measured, standing.beside)
            standing = done.standing
            file = run.round(done.number).directory / layout.ROUND_METRICS
            new = not file.exists()
            run.commit(file, row.model_dump_json(indent=2) + "\n")
            if done.principles or standing.stopped is not None or done.number == 0 or last:
                constitution.changed(now=new)
            if standing.interventions and (new or last or standing.stopped is not None):
                run.commit(run.path / layout.GUARD_RAILS, as_lines(standing.interventions))
            metrics.append(row)
            curves.tell(row, done.ledger)
            progress.round_done(row, steps.order.rounds)
            if done.examples:
                trained.add(done.number)
            trained.drop_all_but((weights, standing.best.checkpoint))
    run.settle()
    trained.drop_all_but((weights, standing.best.checkpoint))
    return Outcome(run.path, metrics, in_force(constitution.ledger), weights, undetermined)


class TrainedWeights:
    """Full weights of the rounds so far. Where the settings keep only the last, those that nobody goes back to are deleted."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        training = run.settings.training
        self._dropped = training.method == "full" and training.keep == "last"
        self._places: list[Path] = []

    def add(self, number: int) -> None:
        """A round has trained."""
        self._places.append(self._run.round(number).directory / layout.FULL_WEIGHTS)

    def drop_all_but(self, needed: Sequence[Checkpoint]) -> None:
        """After all that says what is used in their place is on disk."""
        if not self._dropped:
            return
        kept = {self._run.path / checkpoint.path for checkpoint in needed}
        dropped = [place for place in self._places if place not in kept]
        if not dropped or self._run.weights.busy:
            return
        self._run.settle()
        for place in dropped:
            shutil.rmtree(place, ignore_errors=True)
        self._places = [place for place in self._places if place in kept]


def _row(done: Round, ended: str | None, collecting: bool) -> RoundMetrics:
    """What is known of a round besides what was measured."""
    revised = {revision.failure.response.prompt.id for revision in done.revisions}
    return RoundMetrics(
        round=done.number,
        prompts=len(done.verdicts),
        failures=sum(verdict.label == "unacceptable" for verdict in done.verdicts),
        undetermined=sum(verdict.label == "undetermined" for verdict in done.verdicts),
        too_long=sum(verdict.response.finish == "prompt_too_long" for verdict in done.verdicts),
        collected=len(done.failures),
        collecting=bool(done.failures) and collecting,
        proposed=len(done.principles),
        not_adopted=why_not_adopted(done.principles),
        principles=len(in_force(done.principles)),
        revised=len(revised),
        verified=sum(row.kind == "revision" for row in done.examples),
        not_mended=why_not_mended(done.revisions),
        examples=len(done.examples),
        trained=done.trained,
        loss=done.weights.loss if done.trained else None,
        problem=done.problem,
        weights=-1 if done.weights.round is None else done.weights.round,
        stopped=done.standing.stopped or ended,
        tokens=spent_tokens(done.verdicts, done.revisions, done.weights.tokens if done.trained else 0),
    )
