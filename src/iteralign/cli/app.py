"""The commands. Each reads its arguments, calls one function of the package, and prints the result."""

import contextlib
import datetime
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iteralign.cli.as_json import print_json
from iteralign.cli.bars import ConsoleProgress
from iteralign.cli.card import card, push
from iteralign.cli.compare import compare
from iteralign.cli.console import out, print_ending, print_outcome
from iteralign.cli.constitution import constitution_app
from iteralign.cli.data import data_app
from iteralign.cli.evaluate import evaluate, judge_check
from iteralign.cli.init import init, schema
from iteralign.cli.options import (
    ConfigArgument,
    ForceOption,
    JsonOption,
    NameOption,
    RunArgument,
    RunDirOption,
    SetOption,
)
from iteralign.cli.report import report
from iteralign.cli.sign import sign
from iteralign.cli.trace import trace
from iteralign.cli.verify import verify
from iteralign.cli.view import view
from iteralign.errors import ConfigError, Interrupted
from iteralign.settings.choices import PairForm

if TYPE_CHECKING:
    from iteralign.runs.rounds import Outcome
    from iteralign.settings.settings import Settings
    from iteralign.trainers.group import Group
    from iteralign.trainers.launched import Launch

app = typer.Typer(
    help="Discover a constitution from a language model's own failures, and align the model with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(constitution_app, name="constitution")

RECIPES = Path(__file__).parent


def _show_version(wanted: bool) -> None:
    if wanted:
        from iteralign import __version__

        typer.echo(f"iteralign {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    context: typer.Context,
    run_dir: RunDirOption = None,
    name: NameOption = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Red-team with these prompts instead of the embedded ones.")
    ] = None,
    overrides: SetOption = None,
) -> None:
    """The whole loop on the embedded model, prompts and rules: CPU, no key, no network."""
    chosen = [] if prompts is None else [f"data.prompts={prompts}"]
    settings = _settings(RECIPES / "demo.yaml", [*chosen, *(overrides or [])], name)
    out.print(
        "The demo aligns a tiny model (1.1 million parameters, made-up English) judged by rules. It shows every step of "
        "the method for real; what it says about other models is nothing.",
        style="dim",
    )
    _run(settings, run_dir or _fresh_directory(settings, "demo"), context.obj)
    out.print("\nNext: `iteralign init config.yaml` for a model and an oracle of your own.")


app.command()(init)


@app.command()
def plan(
    config: ConfigArgument,
    overrides: SetOption = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Load the model, answer for 30 s, train two steps, ask one verdict: tells hours."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What a run would take: rounds, calls, tokens, money, memory, disk; with --measure, hours. Nothing is started."""
    from iteralign.cli.plan_table import plan_table, remarks, steps_table
    from iteralign.preflight.plan import make_plan

    settings = _settings(config, overrides or [])
    made = make_plan(settings, measure=measure)
    if as_json:
        print_json(made)
        return
    out.print(plan_table(made, settings))
    if made.oracle_steps:
        out.print(steps_table(made))
    for note in [*remarks(made), *made.notes]:
        out.print(note, style="dim", markup=False, soft_wrap=True)


@app.command()
def run(
    context: typer.Context,
    config: ConfigArgument,
    overrides: SetOption = None,
    run_dir: RunDirOption = None,
    name: NameOption = None,
    constitution: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from these principles (constitution.file).")
    ] = None,
) -> None:
    """Start a run."""
    chosen = [] if constitution is None else [f"constitution.file={json.dumps(str(constitution))}"]
    settings = _settings(config, [*chosen, *(overrides or [])], name)
    _run(settings, run_dir or settings.run_dir or _fresh_directory(settings, config.stem), context.obj)


@app.command()
def resume(context: typer.Context, run_dir: RunArgument, overrides: SetOption = None) -> None:
    """Go on with a run where it was stopped. --set may raise a budget, or change what speed and memory depend on."""
    with _interruptible(run_dir), ConsoleProgress() as progress:
        from iteralign.runs.run import resume_run

        outcome = resume_run(run_dir, overrides=overrides or [], progress=progress, group=_group(context.obj))
    _print_end(outcome)


@app.command()
def status(run_dir: RunArgument, as_json: JsonOption = False) -> None:
    """How far a run is; also while it goes on."""
    from iteralign.cli.status import print_status
    from iteralign.report.status import read_status

    found = read_status(run_dir)
    if as_json:
        print_json(found)
    else:
        print_status(found)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Settings to check.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check environment, model, oracle (one small real call each), cache, memory and disk; say what to do."""
    settings = None if config is None else _settings(config, overrides or [])
    from iteralign.cli.doctor import print_findings
    from iteralign.preflight.doctor import examine
    from iteralign.preflight.findings import Examined

    if as_json:
        found = Examined.of(examine(settings))
        print_json(found)
    else:
        found = print_findings(examine(settings))
    if found.failures:
        raise typer.Exit(1)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget the replies.")] = False,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="With --clear: only those of this model.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """The oracle's replies kept on this machine: how many, of which models; or forget them."""
    from iteralign.cli.oracle import clear_cache, print_cache

    if model is not None and not clear:
        raise ConfigError("--model goes with --clear.")
    if clear:
        clear_cache(model, yes)
    else:
        print_cache()


@app.command()
def export(
    run_dir: RunArgument,
    form: Annotated[
        PairForm, typer.Option("--format", help="sft: prompt and completion. dpo: prompt, chosen and rejected.")
    ] = "sft",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="FORMAT.jsonl if not said.")] = None,
    force: ForceOption = False,
) -> None:
    """The run's pairs as a data set that trl loads."""
    from iteralign.files import check_outputs
    from iteralign.report.export import export_pairs

    path = output or Path(f"{form}.jsonl")
    check_outputs(path, force=force)
    count = export_pairs(run_dir, form, path)
    out.print(f"Wrote {count:,} rows to {path}", markup=False)


app.command()(schema)
app.command()(evaluate)
app.command()(report)
app.command()(view)
app.command()(compare)
app.command()(verify)
app.command()(trace)
app.command()(sign)
app.command()(card)
app.command()(push)
app.command("judge-check")(judge_check)


def _settings(source: Path, overrides: list[str], name: str | None = None) -> "Settings":
    from iteralign.settings.settings import load_settings  # late: it takes longer than all of --help

    return load_settings(source, overrides if name is None else [*overrides, f"name={json.dumps(name)}"])


def _group(launch: "Launch | None") -> "Group | None":
    """The training processes that a launcher has started."""
    if launch is None:
        return None
    from iteralign.trainers.launched import LaunchedGroup

    return LaunchedGroup(launch)


def _run(settings: "Settings", directory: Path, launch: "Launch | None") -> None:
    with _interruptible(directory), ConsoleProgress() as progress:
        from iteralign.runs.run import start_run

        outcome = start_run(settings, directory, progress=progress, group=_group(launch))
    _print_end(outcome)


def _print_end(outcome: "Outcome") -> None:
    from iteralign.cli.oracle import print_calls
    from iteralign.rundir.reader import read_run
    from iteralign.scoreboard.ending import ending

    print_outcome(outcome)
    print_calls(read_run(outcome.directory).calls())
    end = ending(outcome.metrics)
    print_ending(end)
    if end.exit_code:
        raise typer.Exit(end.exit_code)


@contextlib.contextmanager
def _interruptible(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        from iteralign.rundir.begun import holds_a_run

        if not holds_a_run(directory):
            raise Interrupted("Interrupted before the run began: nothing was written.") from None
        named = shlex.quote(str(directory))
        raise Interrupted(f"Interrupted. What was finished is kept; go on by `iteralign resume {named}`.") from None


def _fresh_directory(settings: "Settings", otherwise: str) -> Path:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{(settings.name or otherwise).replace(' ', '-')}-{stamp}"
