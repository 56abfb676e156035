"""The commands of `iteralign constitution`."""

from pathlib import Path
from typing import Annotated

import typer

from iteralign.cli.console import is_terminal, out
from iteralign.cli.options import ForceOption, RunArgument
from iteralign.errors import ConfigError
from iteralign.settings.choices import ConstitutionForm
from iteralign.text.control import visible

constitution_app = typer.Typer(help="What a run discovered.", no_args_is_help=True)


@constitution_app.command("show")
def show(
    run_dir: RunArgument,
    tree: Annotated[bool, typer.Option("--tree", help="By category, with what happened to each.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what was not adopted.")] = False,
) -> None:
    """The principles, with the failures that each one answers, its trial and its effect."""
    from iteralign.cli.principles import ledger_table, ledger_tree
    from iteralign.constitution.ledger import in_force
    from iteralign.rundir.reader import read_run

    ledger, effects = read_run(run_dir).constitution()
    shown = ledger if everything else in_force(ledger)
    out.print(ledger_tree(shown, effects) if tree else ledger_table(shown, effects, str(run_dir)))
    hidden = len(ledger) - len(shown)
    if hidden:
        out.print(f"{hidden} more were proposed and not adopted: --all shows them.", style="dim")


@constitution_app.command("review")
def review(
    run_dir: RunArgument,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Take the decisions from here.")] = None,
    reviewer: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides.")] = None,
) -> None:
    """Decide on the principles that a run waits for; of a finished run, on its whole constitution."""
    from iteralign.cli.review import review_run

    review_run(run_dir, file, reviewer)


@constitution_app.command("diff")
def diff(
    run_dir: RunArgument,
    first: Annotated[str, typer.Argument(metavar="A", help="A round, or `start` for what the run began with.")],
    second: Annotated[str, typer.Argument(metavar="B", help="A later round.")],
) -> None:
    """What changed in the constitution from the end of round A to the end of round B."""
    from iteralign.cli.principles import print_diff
    from iteralign.rundir.reader import read_run

    before, after = _round(first), _round(second)
    if before > after:
        raise ConfigError(f"Round {first} is after round {second}: name the earlier one first.")
    run = read_run(run_dir)
    print_diff(run.constitution_after(before), run.constitution_after(after))


@constitution_app.command("export")
def export(
    run_dir: RunArgument,
    form: Annotated[ConstitutionForm, typer.Option("--format")] = "md",
    output: Annotated[Path | None, typer.Option("-o", "--output")] = None,
    force: ForceOption = False,
) -> None:
    """The constitution as a file of its own, or on standard output."""
    from iteralign.files import check_outputs, write_text
    from iteralign.report.export import constitution_text

    if output is not None:
        check_outputs(output, force=force)
    text = constitution_text(run_dir, form)
    if output is None:
        typer.echo(visible(text) if is_terminal() else text, nl=False)
    else:
        write_text(output, text)


def _round(text: str) -> int:
    """The number of a round; -1 for the start."""
    if text == "start":
        return -1
    if not text.isdecimal():
        raise ConfigError(f"{text}: name a round by its number, or say start.")
    return int(text)
