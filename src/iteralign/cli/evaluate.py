"""`iteralign evaluate` and `iteralign judge-check`: arguments in, tables out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from iteralign.cli.bars import ConsoleProgress
from iteralign.cli.completion import complete_judge, complete_tasks
from iteralign.cli.console import out
from iteralign.cli.options import ForceOption
from iteralign.errors import ConfigError, EvaluationIncomplete, MissingExtraError
from iteralign.settings.choices import AnswerForm

if TYPE_CHECKING:
    from rich.table import Table

    from iteralign.evals.evaluate import Evaluated
    from iteralign.evals.judge_check import JudgeReport
    from iteralign.settings.oracle import OracleSettings
    from iteralign.stats.intervals import Proportion

JudgeOption = Annotated[
    str | None,
    typer.Option(
        metavar="rules|FILE",
        help="Who judges: the phrase rules, or a settings file with an `oracle` section.",
        autocompletion=complete_judge,
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most so many of each set, for trying out; every kind has its share.")
]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the results as JSON.", dir_okay=False)
]


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's directory or hub id, or a run directory.")],
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: hhh, truthfulqa_mc, safety, xstest, truthfulqa_pairwise, vicuna_pairwise, and any "
            "task of lm-eval (mmlu, gsm8k, ifeval ...). If not said: hhh, truthfulqa_mc and, with prompts, safety.",
            autocompletion=complete_tasks,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Local files: hhh_alignment/, TruthfulQA.csv, xstest_prompts.csv, vicuna_bench_question.jsonl. The hub "
            "is asked for what is not there.",
        ),
    ] = None,
    harmful: Annotated[
        list[str] | None, typer.Option(metavar="SET", help="Prompts that should be declined, for safety. Repeatable.")
    ] = None,
    benign: Annotated[
        list[str] | None, typer.Option(metavar="SET", help="Prompts that should be answered, for safety. Repeatable.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Measured beside MODEL; a run brings its own.")
    ] = None,
    form: Annotated[AnswerForm | None, typer.Option(help="How it is asked; a run brings its own.")] = None,
    judge: JudgeOption = None,
    judge_check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Correct attack success by these results of `judge-check -o`.")
    ] = None,
    meta_prompt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="In place of ours in Dromedary's protocol.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of an answer; a run brings its own sampling.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Of lm-eval.")] = 16,
    limit: LimitOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Benchmarks and safety, with intervals; of a run, its base and its aligned model side by side."""
    from iteralign.evals.evaluate import Options, default_tasks, result_files, runnable, subject_of, write_results
    from iteralign.evals.evaluate import evaluate as measure
    from iteralign.files import check_outputs

    if data is not None and not data.is_dir():
        raise ConfigError(f"--data {data} is no directory. Give the one that the files lie in.")
    subject = subject_of(model, base)
    if output is not None:
        files = result_files(output, [name for name, _ in subject.models])
        check_outputs(*(path for both in files.values() for path in both), force=force)
    oracle = judge_settings(judge)
    if oracle is None and subject.settings is not None:
        oracle = subject.settings.oracle
    options = Options(
        tasks=tuple(name.strip() for name in tasks.split(",") if name.strip()) if tasks else (),
        data=data,
        harmful=tuple(harmful or ()),
        benign=tuple(benign or ()),
        base=base,
        form=form,
        oracle=oracle,
        judge_check=judge_check,
        meta_prompt=meta_prompt,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        limit=limit,
    )
    chosen, missing = runnable(options.tasks or default_tasks(subject, options))
    if not chosen:
        raise MissingExtraError(_not_run(missing))
    if missing:
        out.print(f"[yellow]{escape(_not_run(missing))}[/]", soft_wrap=True)
    with ConsoleProgress().working("evaluating"):
        results = measure(subject, replace(options, tasks=chosen))
    print_rows(results)
    named = " + ".join(oracle.judge_names) if oracle is not None else "rules"
    out.print(f"judge: {named}; rates in percent with 95% intervals; chance: what a guess gives", style="dim")
    for path in write_results(results, output, named) if output else []:
        out.print(f"Wrote {path}", markup=False)
    broken = {f"{done.name}: {task}": why for done in results for task, why in done.not_run.items()}
    if missing or broken:
        raise EvaluationIncomplete(_not_run(missing | broken))


def _not_run(reasons: Mapping[str, str]) -> str:
    """One line for each reason, with its tasks."""
    tasks: dict[str, list[str]] = {}
    for task, why in reasons.items():
        tasks.setdefault(why, []).append(task)
    return "\n".join(f"not run: {', '.join(names)}. {why}" for why, names in tasks.items())


def judge_check(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[LABELS...]",
            help="Files or directories: XSTest completions, hh-rlhf pairs, your own, or a run whose answers were labelled in "
            "`iteralign view`.",
            show_default=False,
        ),
    ] = None,
    judge: JudgeOption = "rules",
    run: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Correct this run's held-out rates, too: by what people said of its own answers in `iteralign view`, else by "
            "LABELS. Repeatable.",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of a judge with method: probability, fit where its Yes begins to be people's, and write that for a run "
            "(oracle.judge.calibration).",
            dir_okay=False,
        ),
    ] = None,
    limit: LimitOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Is the judge right? Its agreement with human labels, its biases, and rates corrected for its errors.

    A file of your own has the columns question, answer and label (acceptable or unacceptable), and benign where it
    matters.
    """
    from iteralign.evals.judge_check import judge_check as check
    from iteralign.evals.judge_check import write_report
    from iteralign.files import check_outputs
    from iteralign.rundir.reader import read_run
    from iteralign.runs import build

    check_outputs(*(file for file in (output, calibrate) if file is not None), force=force)
    settings = judge_settings(judge)
    assert settings is not None  # there is a default
    if not sources and (calibrate is not None or not run):
        raise ConfigError("There is nothing to hold the judge against: name LABELS, or a run by --run.")
    sources = sources or []
    if calibrate is not None:
        from iteralign.cli.calibrate import calibrate as fit

        if output is not None or run:
            raise ConfigError("--calibrate writes a calibration alone: check the judge with it by a second call.")
        fit(settings, sources, calibrate, limit)
        return
    oracle = build.build_oracle(settings, 0)
    named = settings.judge_names if sources else sorted({read_run(one).judge for one in run or ()})
    with ConsoleProgress().working("judging labelled answers"):
        report = check(oracle, sources, judge=" + ".join(named), runs=run or (), limit=limit)
    print_report(report)
    if output is not None:
        write_report(report, output)
        out.print(f"Wrote {output}", markup=False)


def judge_settings(source: str | None) -> "OracleSettings | None":
    """`rules`, or the `oracle` section of a settings file. Raises ConfigError."""
    from iteralign.settings.addresses import addressed
    from iteralign.settings.oracle import OracleSettings
    from iteralign.settings.settings import load_settings
    from iteralign.text.bounded import read_yaml

    if source is None:
        return None
    if source == "rules":
        return OracleSettings(kind="rules")
    try:
        values: Any = read_yaml(Path(source))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--judge {source}: say rules, or give a settings file that can be read: {error}") from error
    if not isinstance(values, dict) or "oracle" not in values:
        raise ConfigError(f"--judge {source}: the file has no `oracle` section.")
    whole = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": values["oracle"]}
    return addressed(load_settings(whole).oracle)


def print_rows(results: Sequence["Evaluated"]) -> None:
    """The table: one line a measured number, the models side by side."""
    table = _table("", *(done.name for done in results), "n", "chance")
    task = ""
    for row in results[-1].rows:
        if row.task != task:
            task = row.task
            table.add_row(f"[bold]{escape(_shown(task))}[/]")
        others = [done.row(row.task, row.metric) for done in results]
        cells = ["-" if one is None else _cell(one.value, one.low, one.high) for one in others]
        if len(cells) > 1:
            cells[-1] += " *" if row.change is not None and row.change.direction else "  "
        chance = "" if row.chance is None else _percent(row.chance)
        table.add_row(f"  {escape(row.metric)}", *cells, str(row.n), chance)
    out.print(table)
    if any(row.change for row in results[-1].rows):
        out.print(
            "*: differs from the base, p < 0.05 by McNemar's test on the same items, each row by itself", style="dim"
        )
    for done in results:
        for row in done.rows:
            if row.note and not row.task.startswith("iteralign_"):
                out.print(
                    f"{done.name}, {row.task}, {row.metric}: {row.note}", style="dim", markup=False, soft_wrap=True
                )


def _shown(task: str) -> str:
    """Our tasks for lm-eval without the prefix that keeps them apart from its own."""
    return task.removeprefix("iteralign_").replace("_", " ") if task.startswith("iteralign_") else task


def print_report(report: "JudgeReport") -> None:
    """Agreement, biases, corrected rates."""
    out.print(f"judge: {report.judge}", markup=False)
    if report.groups:
        table = _table("labelled answers", "n", "undet.", "kappa", "sensitivity", "specificity")
        for name, found in report.groups.items():
            table.add_row(
                name,
                str(found.total),
                str(found.undetermined),
                _signed(found.kappa, *found.kappa_interval),
                _share(found.sensitivity),
                _share(found.specificity),
            )
        out.print(table)
        out.print("percent with 95% intervals; unacceptable is the positive class", style="dim")
    if "all" in report.length:
        bias = report.length["all"]
        out.print(f"length bias: {_signed(bias.value, *bias.interval)}", soft_wrap=True)
        out.print(
            "how much more than people the judge accepts the longer half of the answers than the shorter half; 0: none",
            style="dim",
            soft_wrap=True,
        )
    _print_pairs(report)
    for rate in report.rates:
        fixed = rate.corrected
        shown = f"no estimate: {fixed.problem}" if fixed.problem else _cell(fixed.rate, fixed.low, fixed.high)
        out.print(
            f"{escape(rate.where)}: held-out unacceptable {_share(rate.raw)} raw, corrected {shown}", soft_wrap=True
        )


def _print_pairs(report: "JudgeReport") -> None:
    if report.pairs is not None:
        found = report.pairs
        table = _table("pairs, each answer judged alone", "")
        table.add_row("pairs", str(found.total))
        table.add_row("told apart by the judge", _share(found.told_apart))
        table.add_row("of these: as people chose", _share(found.with_people))
        table.add_row("of these: the longer answer", _share(found.prefers_longer))
        table.add_row("people chose the longer answer", _share(found.people_prefer_longer))
        out.print(table)
    if report.sides is not None:
        sides = report.sides
        table = _table("pairs, side by side in both orders", "")
        table.add_row("as people chose (ties half)", _cell(sides.win_rate.value, *sides.win_rate.interval))
        table.add_row(
            "won, tied, lost, undetermined", f"{sides.wins}, {sides.ties}, {sides.losses}, {sides.undetermined}"
        )
        table.add_row("result turned by the order", _share(sides.position_bias))
        table.add_row("of these: for the first place", str(sides.first_place))
        out.print(table)


def _table(*names: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    return table


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _cell(value: float, low: float, high: float) -> str:
    return f"{_percent(value)} \\[{_whole(low)}, {_whole(high)}]"


def _whole(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}"


def _share(proportion: "Proportion") -> str:
    return _cell(proportion.rate, *proportion.interval) if proportion.total else "-"


def _signed(value: float, low: float, high: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} \\[{low:.2f}, {high:.2f}]"
