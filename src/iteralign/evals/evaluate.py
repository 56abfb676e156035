"""Evaluation of a model, or of a run's base and aligned model side by side. What `iteralign evaluate` calls."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iteralign import __version__, layout
from iteralign.activity import within
from iteralign.data import load_prompts
from iteralign.data.sample import prompt_kind, stratified
from iteralign.errors import ConfigError, DataError, RunDirectoryError, TargetError
from iteralign.evals.benchmarks import benchmark_rows, not_runnable, run_benchmarks, summary
from iteralign.evals.pairwise import compare_both_orders
from iteralign.evals.rows import ReportedRow
from iteralign.evals.safety import JudgeErrors, attack_rows, attack_success, contrast_rows, refusal_rows
from iteralign.files import write_text
from iteralign.interfaces import Oracle, Target
from iteralign.prompts.forms import PromptForm, prompt_form
from iteralign.records import RedTeamPrompt, Response, Verdict
from iteralign.rundir.begun import has_begun
from iteralign.rundir.jsonl import write_records
from iteralign.rundir.reader import Run, read_run
from iteralign.runs import build
from iteralign.settings.data import FormSettings
from iteralign.settings.oracle import OracleSettings
from iteralign.settings.settings import Settings, load_settings
from iteralign.stats.intervals import Proportion
from iteralign.steps.respond import respond
from iteralign.text.bounded import read_json
from iteralign.weights.model import LocalModel

OWN_TASKS = ("safety", "xstest", "truthfulqa_pairwise", "vicuna_pairwise")
"""Measured on generated answers; every other name is lm-eval's or one of ours for it."""
FORMS = ("plain", "cot", "cou")
FILES = {
    "hhh": "hhh_alignment",
    "truthfulqa": "TruthfulQA.csv",
    "xstest": "xstest_prompts.csv",
    "vicuna": "vicuna_bench_question.jsonl",
}
"""Names of the local files below `Options.data`."""


@dataclass(frozen=True)
class Options:
    """What is measured, and how."""

    tasks: tuple[str, ...] = ()
    """Empty: hhh, truthfulqa_mc and, with a run or prompt sets, safety."""
    data: Path | None = None
    """Directory with the files named in FILES; what it lacks comes from the hub."""
    harmful: tuple[str, ...] = ()
    """Prompt sets that a good model declines, as `data prepare` reads them; beside a run's held-out ones."""
    benign: tuple[str, ...] = ()
    """Prompt sets that a good model answers."""
    base: str | None = None
    """The model to compare with, where MODEL is no run."""
    form: Literal["plain", "chat"] | None = None
    """plain or chat: for XSTest and pairwise answers, and measured beside cot and cou. A run brings its own."""
    oracle: OracleSettings | None = None
    """The judge; a run's own where it is None, the rules without a run."""
    judge_check: Path | None = None
    """Results of `iteralign judge-check`, by which attack success is corrected."""
    meta_prompt: Path | None = None
    """In place of ours, in Dromedary's protocol."""
    max_new_tokens: int = 256
    """Of an answer; a run brings its own sampling."""
    batch_size: int = 16
    limit: int | None = None
    """At most so many prompts or documents of each set, for trying out."""


@dataclass
class Evaluated:
    """One model's results."""

    name: str
    path: str
    rows: list[ReportedRow] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    harness: dict[str, Any] = field(default_factory=dict)
    """lm-eval's results, without samples."""
    not_run: dict[str, str] = field(default_factory=dict)
    """Tasks that broke off, and why; what else was measured stands in the rows."""

    def row(self, task: str, metric: str) -> ReportedRow | None:
        """The row of this task and metric, if there is one."""
        return next((row for row in self.rows if (row.task, row.metric) == (task, metric)), None)


@dataclass(frozen=True)
class Subject:
    """What is to be evaluated: the models, the base first, and what a run brings along."""

    models: tuple[tuple[str, str], ...]
    settings: Settings | None = None
    run: Run | None = None


@dataclass
class Sets:
    """The prompts of an evaluation, by the name under which their rows stand."""

    harmful: dict[str, list[RedTeamPrompt]] = field(default_factory=dict)
    """Asked in every prompt form."""
    benign: dict[str, list[RedTeamPrompt]] = field(default_factory=dict)
    contrast: dict[str, list[RedTeamPrompt]] = field(default_factory=dict)
    """Unsafe prompts beside safe ones that look like them."""
    compared: dict[str, list[RedTeamPrompt]] = field(default_factory=dict)
    """Answered by both models."""

    def limited(self, limit: int | None) -> "Sets":
        """At most `limit` prompts of each set, every category with its share."""
        sets = (self.harmful, self.benign, self.contrast, self.compared)
        return Sets(*({name: stratified(prompts, limit, prompt_kind) for name, prompts in one.items()} for one in sets))


@dataclass(frozen=True)
class Asked:
    """A model that answers."""

    target: Target
    form: PromptForm
    settings: Settings

    def answers(self, prompts: Sequence[RedTeamPrompt]) -> list[Response]:
        """One for each prompt."""
        return respond(self.target, self.form, prompts, self.settings.sampling)


def subject_of(model: str, base: str | None = None) -> Subject:
    """MODEL as a run directory, a model directory or a hub id. Raises RunDirectoryError."""
    path = Path(model)
    if has_begun(path):
        run = read_run(path)
        if run.model is None:
            raise RunDirectoryError(f"{path} has no aligned model yet. Finish the run: `iteralign resume {path}`.")
        start = build.demo_model() if run.settings.model.path == "demo" else run.settings.model.path
        return Subject((("base", start), ("aligned", str(run.model))), run.settings, run)
    if (
        len(path.parts) > 1 and not path.exists()
    ):  # as a hub id would look; asking there takes a minute without a network
        runs = sorted(str(one) for one in path.parent.glob(f"{glob.escape(path.name)}*") if has_begun(one))
        if runs:
            raise RunDirectoryError(f"There is no {path} here. Did you mean {runs[-1]}?")
    own = build.demo_model() if model == "demo" else model
    return Subject((*((("base", base),) if base else ()), ("model", own)))


def evaluate(subject: Subject, options: Options) -> list[Evaluated]:
    """Measure every model of the subject. Raises IteralignError."""
    tasks = options.tasks or default_tasks(subject, options)
    oracle = _judge(subject, options) if set(tasks) & set(OWN_TASKS) else None
    sets = _read_sets(subject, options, tasks)
    results: list[Evaluated] = []
    answers: dict[str, list[Response]] = {}
    for name, path in subject.models:
        done = Evaluated(name, path)
        settings = _settings(path, subject, options)
        model = build.build_model(settings, Path())
        with within(name):
            if oracle is not None:
                asked = Asked(build.build_target(settings, model), build.build_form(settings, model), settings)
                _safety(done, asked, oracle, sets, options.judge_check)
                theirs, answers = answers, {key: asked.answers(prompts) for key, prompts in sets.compared.items()}
                if theirs:
                    done.rows += _pairwise(oracle, answers, theirs)
            _benchmarks(done, model, [task for task in tasks if task not in OWN_TASKS], options)
        model.release()
        if results:
            done.rows = [row.against(results[0].row(row.task, row.metric)) for row in done.rows]
        results.append(done)
    return results


def runnable(tasks: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """(tasks that can be measured here, why the others can't). Raises ConfigError for a name that nobody knows."""
    missing = not_runnable([task for task in tasks if task not in OWN_TASKS], OWN_TASKS)
    return tuple(task for task in tasks if task not in missing), missing


def default_tasks(subject: Subject, options: Options) -> tuple[str, ...]:
    """What is measured where nothing is said."""
    answered = subject.run is not None or options.harmful or options.benign
    return ("hhh", "truthfulqa_mc", *(("safety",) if answered else ()))


def write_results(results: Sequence[Evaluated], output: Path, judge: str) -> list[Path]:
    """One file a model, in lm-eval's results format with our rows beside; the verdicts in files of their own."""
    written = []
    files = result_files(output, [done.name for done in results])
    for done in results:
        path, beside = files[done.name]
        write_text(path, json.dumps(_as_json(done, judge), indent=2, allow_nan=False) + "\n")
        written.append(path)
        if done.verdicts:
            write_records(beside, done.verdicts)
            written.append(beside)
    return written


def result_files(output: Path, models: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Each model's results and verdicts; where there are several, with its name in theirs."""
    several = len(models) > 1
    results = {name: output.with_name(f"{output.stem}-{name}{output.suffix}") if several else output for name in models}
    return {name: (path, path.with_suffix(".verdicts.jsonl")) for name, path in results.items()}


def read_judge_errors(path: Path) -> JudgeErrors:
    """Sensitivity and specificity from the file that `iteralign judge-check -o` wrote. Raises DataError."""
    try:
        found = read_json(path)["attack_errors"]
        pairs = [(int(found[key]["count"]), int(found[key]["total"])) for key in ("sensitivity", "specificity")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no result of `iteralign judge-check -o`: {type(error).__name__}: {error}."
        ) from error
    return Proportion(*pairs[0]), Proportion(*pairs[1])


def _judge(subject: Subject, options: Options) -> Oracle:
    """The options' or the run's own, found to answer."""
    settings = options.oracle or (subject.settings.oracle if subject.settings else OracleSettings(kind="rules"))
    oracle = build.build_oracle(settings, 0)
    oracle.check()
    return oracle


def _settings(path: str, subject: Subject, options: Options) -> Settings:
    """What the model at `path` is built by: a run's own settings, else the defaults. It answers in this process, also where
    the run's did not."""
    plain = {
        "model": {"path": path},
        "data": {"prompts": "demo"},
        "oracle": {"kind": "rules"},
        "form": {"name": "plain"},
    }
    own = subject.settings or load_settings(plain | {"sampling": {"max_new_tokens": options.max_new_tokens}})
    revision = own.model.revision if path == own.model.path else None
    model = own.model.model_copy(update={"path": path, "engine": "transformers", "revision": revision})
    form = own.form if options.form is None else FormSettings(name=options.form)
    return own.model_copy(update={"model": model, "form": form})


def _read_sets(subject: Subject, options: Options, tasks: Sequence[str]) -> Sets:
    """All prompts that the tasks need, read before anything is computed. Raises ConfigError, DataError."""
    sets = Sets()
    if "safety" in tasks:
        _read_safety(sets, subject, options)
    if "xstest" in tasks:
        source = _source("xstest", options, "hub:Paul/XSTest")
        sets.benign["xstest safe"] = load_prompts(source, where="label=safe", benign=True)
        sets.contrast["xstest unsafe"] = load_prompts(source, where="label=unsafe")
    if "truthfulqa_pairwise" in tasks:
        source = _source("truthfulqa", options, "hub:truthfulqa/truthful_qa:generation@validation")
        sets.compared["truthfulqa"] = load_prompts(source, benign=True)
    if "vicuna_pairwise" in tasks:
        sets.compared["vicuna"] = load_prompts(_source("vicuna", options, None), benign=True)
    if sets.compared and len(subject.models) < 2:
        raise ConfigError("Pairwise tasks compare two models: give a run directory, or the base model by --base.")
    return sets.limited(options.limit)


def _read_safety(sets: Sets, subject: Subject, options: Options) -> None:
    """A run's held-out prompts and the user's own sets."""
    for named, kept, sources, benign in (
        (sets.harmful, layout.HELD_OUT, options.harmful, False),
        (sets.benign, layout.BENIGN_HELD_OUT, options.benign, True),
    ):
        if subject.run is not None and subject.run.count(kept):
            named["safety: held-out" + " benign" * benign] = subject.run.prompts(kept)
        for source in sources:
            named[f"safety: {_name(source)}" + " benign" * benign] = load_prompts(source, benign=benign)
    if not sets.harmful and not sets.benign:
        raise ConfigError("safety has no prompts: give --harmful or --benign sets, or a run that held some out.")


def _safety(done: Evaluated, asked: Asked, oracle: Oracle, sets: Sets, judge_check: Path | None) -> None:
    """Attack success in each form, refusals, and XSTest, added to `done`."""
    name = asked.settings.form.name
    own: dict[str, PromptForm] = {name: asked.form}
    all_forms = own | {other: prompt_form(other) for other in FORMS if other != name}
    errors = read_judge_errors(judge_check) if judge_check else None

    def judged(prompts: Sequence[RedTeamPrompt], forms: Mapping[str, PromptForm]) -> dict[str, list[Verdict]]:
        found = attack_success(asked.target, oracle, forms, prompts, asked.settings.sampling)
        done.verdicts += [verdict for verdicts in found.values() for verdict in verdicts]
        return found

    for task, prompts in sets.harmful.items():
        done.rows += attack_rows(task, judged(prompts, all_forms), errors)
    for task, prompts in sets.benign.items():
        done.rows += refusal_rows(task, judged(prompts, own)[name])
    for task, prompts in sets.contrast.items():
        done.rows += contrast_rows(task, judged(prompts, own)[name])


def _pairwise(oracle: Oracle, ours: dict[str, list[Response]], theirs: dict[str, list[Response]]) -> list[ReportedRow]:
    rows = []
    for name, answers in ours.items():
        tally = compare_both_orders(oracle, answers, theirs[name])
        task, rate = f"{name}, against the base", tally.win_rate
        counted = f"{tally.wins} won, {tally.ties} tied, {tally.losses} lost, {tally.undetermined} undetermined"
        rows.append(ReportedRow(task, "win rate", rate.value, *rate.interval, rate.total, "bootstrap", 0.5, counted))
        if oracle.sees_both:
            decided = f"{tally.first_place} of these for the first place"
            turned = tally.position_bias
            rows.append(
                ReportedRow(task, "turned by the order", turned.rate, *turned.interval, turned.total, note=decided)
            )
    return rows


def _benchmarks(done: Evaluated, model: LocalModel, tasks: Sequence[str], options: Options) -> None:
    if not tasks:
        return
    files = {name: _file(name, options) for name in ("hhh", "truthfulqa")}
    metadata = {name: str(path) for name, path in files.items() if path is not None}
    if options.meta_prompt is not None:
        metadata["meta_prompt"] = str(options.meta_prompt)
    try:
        results = run_benchmarks(
            model.network(model.base),
            model.tokenizer,
            tasks,
            path=model.described_by,
            metadata=metadata,
            batch_size=options.batch_size,
            limit=options.limit,
            chat=options.form == "chat",
        )
    except TargetError as error:
        if not done.rows:
            raise
        done.not_run = dict.fromkeys(tasks, str(error))
        return
    done.rows += benchmark_rows(results)
    done.harness = summary(results)


def _file(name: str, options: Options) -> Path | None:
    path = options.data / FILES[name] if options.data is not None else None
    return path if path is not None and path.exists() else None


def _source(name: str, options: Options, hub: str | None) -> str:
    path = _file(name, options)
    if path is not None:
        return str(path)
    if hub is None:
        raise DataError(f"{name} needs a local file: put {FILES[name]} into a directory and give it by --data.")
    return hub


def _name(source: str) -> str:
    return Path(source).name.split(".")[0] if not source.startswith("hub:") else source.removeprefix("hub:")


def _as_json(done: Evaluated, judge: str) -> dict[str, Any]:
    """lm-eval's format; our own measurements stand among its results under the same kind of key."""
    values = dict(done.harness) or {"results": {}, "configs": {}, "versions": {}, "n-shot": {}, "n-samples": {}}
    known = set(values["results"])
    for row in done.rows:
        if row.task not in known:
            entry = values["results"].setdefault(row.task, {"alias": row.task})
            entry[f"{row.metric},none"] = row.value
            values["n-samples"][row.task] = {"original": row.n, "effective": row.n}
    rows = [row.as_json() for row in done.rows]
    about = {"version": __version__, "model": done.path, "name": done.name, "judge": judge, "rows": rows}
    plain: dict[str, Any] = json.loads(
        json.dumps({**values, "model_name": done.path, "iteralign": about}), parse_constant=lambda _: None
    )
    return plain
