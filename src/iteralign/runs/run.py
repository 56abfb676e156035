"""A whole run: settings and a directory in, an aligned model and its evidence out. What `iteralign run` calls."""

import contextlib
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.data import Questions
from iteralign.errors import Interrupted, RunDirectoryError
from iteralign.interfaces import Oracle, Target, Trainer
from iteralign.prompts.forms import PromptForm
from iteralign.records import Record
from iteralign.rundir.begun import has_begun
from iteralign.rundir.directory import RunDirectory
from iteralign.rundir.jsonl import as_lines
from iteralign.runs import build, prompt_sets
from iteralign.runs import check as preflight
from iteralign.runs.parts import Parts, build_parts
from iteralign.runs.progress import Progress, Silent
from iteralign.runs.prompt_sets import Given, PromptSets
from iteralign.runs.rounds import Outcome, align
from iteralign.settings.addresses import completed
from iteralign.settings.settings import Settings, as_text, differing_keys
from iteralign.trainers.group import Group
from iteralign.trainers.launched import settled
from iteralign.weights.model import LocalModel


def start_run(
    settings: Settings,
    directory: Path,
    *,
    parts: Parts | None = None,
    progress: Progress | None = None,
    group: Group | None = None,
) -> Outcome:
    """Begin a run in a new directory and carry it through. Raises IteralignError; nothing is written before all that can be
    checked beforehand was (preflight.check). `group`: training processes that are there already."""
    settings = settled(completed(settings), group, os.environ)
    given = {} if parts is None else {name: getattr(parts, name) for name in ("target", "oracle", "trainer", "form")}
    sets = preflight.check(settings, directory, None if parts is None else parts.sets, **given).sets
    with RunDirectory.create(directory, settings) as run:
        own = parts or build_parts(settings, directory, group=group)
        return _carry_through(run, replace(own, sets=sets), progress or Silent())


def resume_run(
    directory: Path,
    *,
    overrides: Sequence[str] = (),
    parts: Parts | None = None,
    progress: Progress | None = None,
    group: Group | None = None,
) -> Outcome:
    """Go on with a run where it was stopped, wherever that was; a finished one is only read back.

    `overrides` (`a.b=value`) may change the settings in `settings.CHANGEABLE`, such as a budget that was reached.
    """
    with RunDirectory.open(directory, overrides) as run:
        settled(run.settings, group, os.environ)
        own = parts or build_parts(run.settings, directory, group=group)
        return _carry_through(run, own, progress or Silent())


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
    settings = settled(completed(given.named_in(settings)), None, os.environ)
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
    names = (
        "iteralign",
        "torch",
        "transformers",
        "trl",
        "peft",
        "accelerate",
        "datasets",
        "openai",
        "tokenizers",
        "ray",
    )
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    hardware = {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
    base = None if model is None else {"path": model.name_or_path, "fingerprint": model.fingerprint()}
    arithmetic = None if model is None else model.arithmetic.record()
    return {
        "versions": versions,
        "hardware": hardware,
        "seed": settings.seed,
        "model": base,
        "arithmetic": arithmetic,
    }


def _carry_through(run: RunDirectory, parts: Parts, progress: Progress) -> Outcome:
    tracking = parts.tracking or build.build_tracking(run.settings, run.path)
    parts = replace(parts, tracking=tracking)
    with _warnings_kept(run, progress):
        run.begin(None if parts.model is None else parts.model.storage)
        try:
            try:
                outcome = _begin_and_align(run, parts, progress)
            finally:
                run.settle()  # also when it was interrupted: what was computed is kept
                tracking.close()
                parts.close()
        except BaseException as error:
            # Ctrl-C is Python's own; the name in the record is the one that a caller of the command line gets.
            kind = Interrupted if isinstance(error, KeyboardInterrupt) else type(error)
            with contextlib.suppress(RunDirectoryError):  # a full disk: the error says so
                run.end(f"stopped: {kind.__name__}")
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
    outcome = align(run, parts, progress)
    if parts.model is not None and not (finished and (run.path / layout.MODEL).exists()):
        with progress.stage(None, 0, "writing the model"):
            if not parts.trainer.export(outcome.checkpoint, run.path / layout.MODEL):
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
    """Refuse to go on from other base weights than those the run began with."""
    begun = run.environment().get("model")
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
