"""`iteralign compare`: runs side by side in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from iteralign.cli.as_json import print_json
from iteralign.cli.options import ForceOption, JsonOption

if TYPE_CHECKING:
    from iteralign.report.compare import Compared
    from iteralign.scoreboard.metrics import RoundMetrics


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN ...", help="Run directories; the first is the reference.")
    ],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page of two to five runs to look at, and print nothing else."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Runs side by side: settings that differ, first and last measurement, paired tests on the prompts they share."""
    from iteralign.cli.console import out
    from iteralign.report.compare import compare_runs

    if html is not None:
        _write_page(runs, html, force=force, as_json=as_json)
        return
    made = compare_runs(runs)
    if as_json:
        print_json(made)
        return
    out.print(_measurements(made))
    if made.settings:
        out.print(_settings(made))
    if made.tests:
        out.print(_tests(made))
    out.print(
        "[dim]95% intervals: Wilson for rates, Bonett and Price for paired differences, bootstrap for perplexity[/]"
    )
    for note in made.notes:
        out.print(f"[yellow]{escape(note)}[/]", soft_wrap=True)


def _write_page(runs: list[Path], path: Path, *, force: bool, as_json: bool) -> None:
    from iteralign.cli.console import out
    from iteralign.errors import ConfigError
    from iteralign.files import check_outputs
    from iteralign.report.html import write_comparison

    if as_json:
        raise ConfigError("--html writes a page and --json prints an object: give one of them.")
    check_outputs(path, force=force)
    write_comparison(runs, path)
    out.print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB). Open it in a browser.", markup=False)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), header_style="bold"
    )


def _measurements(made: "Compared") -> Table:
    from iteralign.cli.console import rate

    table = _table("Runs")
    table.add_column("")
    for column in made.columns:
        table.add_column(escape(column.name), justify="right")
    lines = {
        "rounds (trained)": [f"{column.rounds} ({column.trained})" for column in made.columns],
        "principles": [str(column.principles) for column in made.columns],
        "judge": [escape(column.judge) for column in made.columns],
        "unacceptable, before": [rate(column.first.held_out) for column in made.columns],
        "unacceptable, after": [rate(column.last.held_out) for column in made.columns],
        "benign refused, before": [rate(column.first.benign_refusals) for column in made.columns],
        "benign refused, after": [rate(column.last.benign_refusals) for column in made.columns],
        "perplexity, after": [_perplexity(column.last) for column in made.columns],
    }
    for name, values in lines.items():
        table.add_row(name, *values)
    return table


def _settings(made: "Compared") -> Table:
    table = _table("Settings that differ")
    table.add_column("", no_wrap=True)
    for column in made.columns:
        table.add_column(escape(column.name), overflow="fold")
    for key, values in made.settings.items():
        table.add_row(key, *(escape(str(value)) for value in values))
    return table


def _tests(made: "Compared") -> Table:
    from iteralign.report.gains import difference_in_words

    table = _table(f"After, against {escape(made.columns[0].name)}, on the same prompts")
    for name in ("run", "", "prompts", "difference", "McNemar p", ""):
        table.add_column(name, justify="right" if name in ("prompts", "difference", "McNemar p") else "left")
    for test in made.tests:
        change = test.change
        points = f"{100 * change.difference:+.1f} points [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"
        words = difference_in_words(change)
        p = f"{change.p:.2g}" if change.p is not None else ""
        table.add_row(escape(test.run), test.what, str(change.total), escape(points), p, words)
    return table


def _perplexity(row: "RoundMetrics") -> str:
    one = row.capability
    return "-" if one is None else escape(f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]")
