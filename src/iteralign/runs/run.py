"""A whole run: settings and a directory in, an aligned model and its evidence out. What `iteralign run` calls."""

import contextlib
import logging
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from iteralign.algorithm import Round, groups_of, iteralign
from iteralign.constitution.forms import written
from iteralign.constitution.ledger import Effect, Seen, effects, in_force, seen
from iteralign.data import Questions
from iteralign.errors import RunDirectoryError
from iteralign.interfaces import Oracle, Target, Trainer
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint, Principle, Record, RedTeamPrompt, Response, Verdict
from iteralign.rundir import layout
from iteralign.rundir.directory import RunDirectory, has_begun
from iteralign.rundir.jsonl import as_lines
from iteralign.runs import build, prompt_sets
from iteralign.runs import check as preflight
from iteralign.runs.curves import tell
from iteralign.runs.parts import Parts, build_parts
from iteralign.runs.progress import Progress, Silent, reported
from iteralign.runs.prompt_sets import Given, PromptSets
from iteralign.scoreboard.board import Scoreboard
from iteralign.scoreboard.ending import why_not_adopted, why_not_mended
from iteralign.scoreboard.metrics import RoundMetrics, spent_tokens
from iteralign.settings.addresses import with_addresses
from iteralign.settings.settings import Settings, as_text, differing_keys
from iteralign.steps.judge import judge
from iteralign.steps.respond import respond
from iteralign.text.degenerate import is_degenerate
from iteralign.weights.model import LocalModel


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


def start_run(
    settings: Settings, directory: Path, *, parts: Parts | None = None, progress: Progress | None = None
) -> Outcome:
    """Begin a run in a new directory and carry it through. Raises IteralignError; nothing is written before all that can be
    checked beforehand was (preflight.check)."""
    settings = with_addresses(settings)
    given = {} if parts is None else {name: getattr(parts, name) for name in ("target", "oracle", "trainer", "form")}
    sets = preflight.check(settings, directory, None if parts is None else parts.sets, **given).sets
    with RunDirectory.create(directory, settings) as run:
        own = parts or build_parts(settings, directory)
        return _carry_through(run, replace(own, sets=sets), progress or Silent())


def resume_run(
    directory: Path,
    *,
    overrides: Sequence[str] = (),
    parts: Parts | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Go on with a run where it was stopped, wherever that was; a finished one is only read back.

    `overrides` (`a.b=value`) may change the settings in `settings.CHANGEABLE`, such as a cap that was reached.
    """
    with RunDirectory.open(directory, overrides) as run:
        return _carry_through(run, parts, progress or Silent())


def run(
    settings: Settings | Mapping[str, Any],
    directory: Path | str | None = None,
    *,
    prompts: Questions | None = None,
    held_out: Questions | None = None,
    benign: Questions | None = None,
    target: Target | None = None,
    oracle: Oracle | None = None,
    trainer: Trainer | None = None,
    form: PromptForm | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Start a run, or go on with it if `directory` holds one with the same settings.

    `prompts`, `held_out` and `benign` (each a list of strings or records, or a datasets.Dataset), `target`, `oracle`,
    `trainer` and `form` replace what the settings name, of which then nothing is built. A target of one's own needs a
    trainer of one's own.
    """
    given, progress = Given(prompts, held_out, benign), progress or Silent()
    settings = with_addresses(given.named_in(settings))
    path = Path(directory or settings.run_dir or Path("runs") / (settings.name or "default"))
    sets = prompt_sets.build_prompts(settings, given) if given else None
    own: dict[str, Any] = {"target": target, "oracle": oracle, "trainer": trainer, "form": form}
    if has_begun(path):
        with RunDirectory.open(path) as existing:
            _check_same(existing, settings, sets)
            return _carry_through(existing, build_parts(settings, path, **own), progress)
    sets = preflight.check(settings, path, sets, **own).sets
    with RunDirectory.create(path, settings) as new:
        return _carry_through(new, replace(build_parts(settings, path, **own), sets=sets), progress)


def _check_same(run: RunDirectory, settings: Settings, sets: PromptSets | None) -> None:
    """Refuse to go on with other settings, or other questions given, than those the run began with."""
    differences = differing_keys(run.settings, settings)
    if differences:
        raise RunDirectoryError(
            f"{run.path} holds a run with other settings ({as_text(differences)}); choose another directory."
        )
    if sets is not None:
        other = sets.differing({name: run.prompts(name) for name in sets.named()})
        if other:
            raise RunDirectoryError(f"{run.path} holds a run with other questions ({other}); choose another directory.")


def environment(settings: Settings, model: LocalModel | None = None) -> dict[str, Any]:
    """Versions, hardware, seed and the base model's fingerprint: what someone who repeats the run wants to know."""
    names = ("iteralign", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "openai", "tokenizers")
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    hardware = {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
    base = None if model is None else {"path": model.name_or_path, "fingerprint": model.fingerprint()}
    arithmetic = None if model is None else model.arithmetic()
    return {
        "versions": versions,
        "hardware": hardware,
        "seed": settings.seed,
        "model": base,
        "arithmetic": arithmetic,
    }


def _carry_through(run: RunDirectory, parts: Parts | None, progress: Progress) -> Outcome:
    parts = parts or build_parts(run.settings, run.path)
    tracking = parts.tracking or build.build_tracking(run.settings, run.path)
    parts = replace(parts, tracking=tracking)
    with _warnings_kept(run, progress):
        run.begin()
        if parts.model is not None:
            run.weights = parts.model.writing
            parts.model.written, parts.model.check = run.manifest.prepare, run.check_weights
        try:
            try:
                outcome = _begin_and_align(run, parts, progress)
            finally:
                run.settle()  # also when it was interrupted: what was computed is kept
                tracking.close()
                parts.close()
        except BaseException as error:
            with contextlib.suppress(RunDirectoryError):  # a full disk: the error says so
                run.end(f"stopped: {type(error).__name__}")
            raise
        run.end("finished")
    return outcome


def _begin_and_align(run: RunDirectory, parts: Parts, progress: Progress) -> Outcome:
    finished = (run.path / layout.METRICS).exists()
    if not finished:
        parts.check()
    if run.started:
        _check_base(run, parts.model)
    else:
        _begin(run, parts, progress)
    progress.spending(parts.oracle.spent)
    outcome = _align(run, parts, progress)
    if parts.model is not None and not (finished and (run.path / layout.MODEL).exists()):
        with progress.stage(None, 0, "writing the model"):
            parts.model.export(outcome.checkpoint, run.path / layout.MODEL)
            run.record(run.path / layout.MODEL)
    run.write(run.path / layout.METRICS, as_lines(outcome.metrics))
    if not (finished and (run.path / layout.REPORT).exists()):
        _report(run)
    return outcome


def _report(run: RunDirectory) -> None:
    """RUN/report.html. What goes wrong with it is said and does not cost the run, which is finished."""
    from iteralign.report.html import write_report

    try:
        write_report(run.path)
    except Exception as error:
        logging.getLogger(__name__).warning("%s has no report: %s", run.path, error)


def _begin(run: RunDirectory, parts: Parts, progress: Progress) -> None:
    """Load the prompt sets and write down all that the run begins with."""
    sets = parts.sets or prompt_sets.build_prompts(run.settings)
    for note in sets.notes:
        progress.note(note)
    names: dict[str, Sequence[Record]] = {**sets.named()}
    given = build.build_constitution(run.settings)
    if given:
        names |= {layout.GIVEN_CONSTITUTION: given}
    run.start(environment(run.settings, parts.model), names)


def _check_base(run: RunDirectory, model: LocalModel | None) -> None:
    """Refuse to go on from other base weights than those the run began with, and compute with them as it did."""
    environment = run.environment()
    begun = environment.get("model")
    if model is not None:
        model.begun_with(environment.get("arithmetic"))
    if model is not None and begun is not None and not model.is_still(begun["fingerprint"]):
        raise RunDirectoryError(
            f"The base model {model.name_or_path} is not the one that {run.path} began with: its files have changed. "
            "Restore them, or start a new run."
        )


@contextlib.contextmanager
def _warnings_kept(run: RunDirectory, progress: Progress) -> Iterator[None]:
    """Every warning of iteralign's own goes to RUN/warnings.jsonl and to the user."""

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(RunDirectoryError):  # a full disk is reported by what must be written
                run.log_warning(record.getMessage())
            progress.note(f"warning: {record.getMessage()}")

    handler, logger = Kept(logging.WARNING), logging.getLogger("iteralign")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _align(run: RunDirectory, parts: Parts, progress: Progress) -> Outcome:
    settings = run.settings
    groups = groups_of(run.prompts(layout.PROMPTS), settings.rounds.prompts, settings.rounds.limit)
    if not parts.target.can_score and settings.measure.capability is not None:
        progress.note("The target can't tell how likely it finds a text, so there is no capability check.")
    if not parts.target.can_score and settings.revision.best_of > 1:
        logging.getLogger(__name__).warning(
            "The target can't tell how likely it finds a text, so there is no choosing among several revisions "
            "(revision.best_of %d): the first that passes is taken.",
            settings.revision.best_of,
        )
    ahead = build.build_lookahead(settings, parts.target, parts.oracle, parts.form, groups)
    parts = replace(parts, target=ahead, oracle=ahead, form=ahead.form)
    board = build_scoreboard(run, parts, progress, len(groups))
    with ahead.finishing():
        return _all_rounds(run, parts, board, groups, progress)


def _all_rounds(
    run: RunDirectory,
    parts: Parts,
    board: Scoreboard,
    groups: Sequence[Sequence[RedTeamPrompt]],
    progress: Progress,
) -> Outcome:
    settings = run.settings
    before = reported(run.baseline(), None, len(groups), progress)
    parts.target.load(parts.base)
    benign = before(layout.RESPONSES, respond, parts.target, parts.form, run.prompts(layout.BENIGN), settings.sampling)
    good = acceptable(before(layout.VERDICTS, judge, parts.oracle, benign))
    metrics = [board.start(before, parts.base)]
    tell(parts.tracking, run.path, metrics[0], run.given_constitution(run.path))
    progress.round_done(metrics[0])

    rounds = iteralign(
        groups,
        parts.base,
        target=parts.target,
        oracle=parts.oracle,
        trainer=parts.trainer,
        form=parts.form,
        keeper=lambda number: reported(run.round(number), number, len(groups), progress),
        sampling=settings.sampling,
        reflection=build.build_reflection(settings),
        mixture=build.build_mixture(settings),
        discovery=build.build_discovery(settings, run.path),
        constitution=run.given_constitution(run.path),
        benign=good,
        min_failures=settings.rounds.min_failures,
        admit=board.admit,
    )
    ledger: list[Principle] = run.given_constitution(run.path)
    past: list[Seen] = []
    checkpoint, undetermined = parts.base, list[Verdict]()
    for done in rounds:
        ledger = done.ledger
        past.append(seen(done.verdicts, done.examples, done.trained))
        undetermined += [verdict for verdict in done.verdicts if verdict.label == "undetermined"]
        collecting = done.number < len(groups) - 1 and len(done.pending) < settings.rounds.min_failures
        row, checkpoint = board.close(_row(done, collecting), done.checkpoint)
        run.commit(run.round(done.number).directory / layout.ROUND_METRICS, row.model_dump_json(indent=2) + "\n")
        if done.principles or board.stopped is not None or done.number in (0, len(groups) - 1):
            write_constitution(run, ledger, effects(ledger, past))
        if board.interventions:
            run.write(run.path / layout.GUARD_RAILS, as_lines(board.interventions))
        metrics.append(row)
        tell(parts.tracking, run.path, row, ledger)
        progress.round_done(row)
        _drop_weights(run, done.number, (checkpoint, board.best))
        if board.stopped is not None:
            break
    run.settle()
    _drop_weights(run, metrics[-1].round, (checkpoint, board.best))
    return Outcome(run.path, metrics, in_force(ledger), checkpoint, undetermined)


def acceptable(verdicts: Sequence[Verdict]) -> list[Response]:
    """The responses judged acceptable, and fit to learn from: the benign answers that may be replayed."""
    return [
        verdict.response
        for verdict in verdicts
        if verdict.label == "acceptable" and not is_degenerate(verdict.response.text)
    ]


def write_constitution(run: RunDirectory, ledger: Sequence[Principle], measured: Mapping[str, Effect]) -> None:
    """constitution.yaml with everything known of each principle, and constitution.md to read."""
    for name, form in ((layout.CONSTITUTION, "yaml"), (layout.CONSTITUTION_TO_READ, "md")):
        run.write(run.path / name, written(form, ledger, measured))


def build_scoreboard(run: RunDirectory, parts: Parts, progress: Progress, rounds: int) -> Scoreboard:
    """The held-out sets of the run, measured with its own parts."""
    return Scoreboard(
        target=parts.target,
        oracle=parts.oracle,
        form=parts.form,
        sampling=run.settings.sampling,
        held_out=run.prompts(layout.HELD_OUT),
        benign=run.prompts(layout.BENIGN_HELD_OUT),
        keeper=lambda number: reported(run.round(number), number, rounds, progress),
        rounds=rounds,
        every=run.settings.measure.every,
        capability=run.settings.measure.capability,
        limits=build.build_limits(run.settings),
    )


def _row(done: Round, collecting: bool) -> RoundMetrics:
    revised = {revision.failure.response.prompt.id for revision in done.revisions}
    return RoundMetrics(
        round=done.number,
        prompts=len(done.verdicts),
        failures=sum(verdict.label == "unacceptable" for verdict in done.verdicts),
        undetermined=sum(verdict.label == "undetermined" for verdict in done.verdicts),
        too_long=sum(verdict.response.finish == "prompt_too_long" for verdict in done.verdicts),
        collected=len(done.pending),
        collecting=bool(done.pending) and collecting,
        proposed=len(done.principles),
        not_adopted=why_not_adopted(done.principles),
        principles=len(in_force(done.principles)),
        revised=len(revised),
        verified=sum(row.kind == "revision" for row in done.examples),
        not_mended=why_not_mended(done.revisions),
        examples=len(done.examples),
        trained=done.trained,
        loss=done.checkpoint.loss if done.trained else None,
        problem=done.checkpoint.problem if done.examples and not done.trained else None,
        tokens=spent_tokens(done.verdicts, done.revisions, done.checkpoint.tokens if done.trained else 0),
    )


def _drop_weights(run: RunDirectory, number: int, needed: Sequence[Checkpoint]) -> None:
    """Delete full weights of the rounds up to `number` that nobody goes back to, where the settings keep only the last."""
    training = run.settings.training
    if training.method == "full" and training.keep == "last" and not run.weights.busy:
        kept = {run.path / checkpoint.path for checkpoint in needed}
        for place in (run.round(earlier).directory / layout.FULL_WEIGHTS for earlier in range(number + 1)):
            if place not in kept:
                shutil.rmtree(place, ignore_errors=True)
