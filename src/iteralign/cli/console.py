"""What the user sees in the terminal: progress, tables, errors. Plain lines where there is no terminal."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from iteralign.metrics import Count, RoundMetrics
    from iteralign.run import Outcome

STAGE_NAMES = {
    "1_responses": "answering",
    "2_verdicts": "judging",
    "3a_proposals": "proposing principles",
    "3b_distinct": "comparing principles",
    "3c_tried": "trying principles",
    "3_principles": "adopting principles",
    "4_revisions": "answering again under principles",
    "5_examples": "gathering examples",
    "6_checkpoint": "fine-tuning",
    "7_held_out": "measuring, held-out red teaming",
    "8_benign": "measuring, benign questions",
    "9_capability": "measuring, capability check",
}

out = Console(highlight=False)


def fail(message: str, code: int) -> int:
    """Print an expected error; returns the exit code."""
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)
    return code


class ConsoleProgress:
    """Implements `progress.Progress`: a bar for the run and one for the stage, or a line for each round."""

    def __init__(self, console: Console = out) -> None:
        self.console = console
        self.live = console.is_terminal
        self._bars: Progress | None = None
        self._run: TaskID | None = None
        self._stage: TaskID | None = None
        self._began = time.monotonic()

    def __enter__(self) -> "ConsoleProgress":
        if self.live:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    @contextlib.contextmanager
    def stage(self, round_number: int | None, rounds: int, stage: str) -> Iterator[None]:
        """A bar for the stage while it is computed."""
        where = "base model" if round_number is None else f"round {round_number + 1} of {rounds}"
        name = STAGE_NAMES.get(stage, stage)
        if self._bars is None:
            yield
            return
        if rounds and self._run is None:
            self._run = self._bars.add_task("rounds", total=rounds, rate="")
        self._stage = self._bars.add_task(f"{where}: {name}", total=None, rate="")
        try:
            yield
        finally:
            self._bars.remove_task(self._stage)
            self._stage = None

    def advance(self, done: int, total: int) -> None:
        """Move the stage's bar."""
        if self._bars is not None and self._stage is not None:
            speed = self._bars.tasks[-1].speed
            rate = f"{speed:.1f}/s" if speed else ""
            self._bars.update(self._stage, completed=done, total=total, rate=rate)

    def round_done(self, metrics: "RoundMetrics") -> None:
        """One line about the round."""
        if self._bars is not None and self._run is not None:
            self._bars.update(self._run, completed=metrics.round + 1)
        self.console.print(_line(metrics), soft_wrap=True)

    def note(self, text: str) -> None:
        """A dim line."""
        self.console.print(f"[dim]{_escaped(text)}[/]", soft_wrap=True)


def rounds_table(metrics: "Sequence[RoundMetrics]", seconds: dict[str, float]) -> Table:
    """The table at the end. `seconds` by the name of the round's directory."""
    table = Table(
        title="Rounds", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0), header_style="bold"
    )
    names = ("round", "prompts", "failed", "prin-\nciples", "verified", "held-out\nunacceptable")
    for name in (*names, "benign\nrefused", "time", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in metrics:
        base = row.round < 0
        table.add_row(
            "base" if base else str(row.round),
            "" if base else str(row.prompts),
            "" if base else str(row.failures),
            "" if base else str(row.principles),
            "" if base else f"{row.verified}/{row.revised}",
            rate(row.held_out),
            rate(row.benign_refusals),
            _duration(seconds.get("baseline" if base else f"{row.round:04d}")),
            "" if base else _short(row.tokens.read + row.tokens.written + row.tokens.trained),
        )
    return table


def print_outcome(outcome: "Outcome", console: Console = out) -> None:
    """The table, what happened to answers nobody could judge, and where everything is."""
    from iteralign.status import stage_seconds

    console.print()
    console.print(rounds_table(outcome.metrics, stage_seconds(outcome.directory)))
    console.print("[dim]rates in percent with a 95% Wilson interval; verified: revisions that passed / failures[/]")
    from iteralign.metrics import final

    base, last = outcome.metrics[0], final(outcome.metrics)
    console.print(f"\nheld-out unacceptable: {rate(base.held_out)} before, [bold]{rate(last.held_out)}[/] after")
    refused = f"{rate(base.benign_refusals)} before, [bold]{rate(last.benign_refusals)}[/] after"
    console.print(f"benign refused:        {refused}")
    for row in outcome.metrics:
        if row.problem is not None:
            console.print(f"[yellow]round {row.round} was thrown away:[/] {_escaped(row.problem)}", soft_wrap=True)
        if row.stopped is not None:
            console.print(f"[yellow]ended after round {row.round}:[/] {_escaped(row.stopped)}", soft_wrap=True)
    if outcome.undetermined:
        reasons = sorted({verdict.reason for verdict in outcome.undetermined})
        console.print(
            f"[yellow]{len(outcome.undetermined)} answers could not be judged[/] and were not trained on: "
            + _escaped("; ".join(reasons[:3])),
            soft_wrap=True,
        )
    console.print(f"constitution: {len(outcome.constitution)} principles, {outcome.directory / 'constitution.md'}")
    console.print(f"model:        {outcome.directory / 'model'}")
    if (outcome.directory / "report.html").exists():
        console.print(f"report:       {outcome.directory / 'report.html'}")
    console.print(f"everything:   {outcome.directory}")


def rate(count: "Count | None") -> str:
    """`12.5% [7, 20]`, or - where nothing was measured."""
    from iteralign.evals.intervals import Proportion

    return "-" if count is None else _escaped(str(Proportion(count.count, count.total)))


def is_terminal() -> bool:
    """Whether a person is at the other end of standard output."""
    return sys.stdout.isatty()


def _line(row: "RoundMetrics") -> str:
    measured = ""
    if row.held_out is not None or row.benign_refusals is not None:
        measured = f"; held-out unacceptable {rate(row.held_out)}, benign refused {rate(row.benign_refusals)}"
    if row.round < 0:
        return "base model" + (measured.replace(";", ":", 1) or ": not measured")
    if row.trained:
        did = f"{row.principles} new principles, {row.verified} of {row.revised} revisions verified, trained"
    elif row.collected:
        did = "not trained: " + _why_untrained(row)
    else:
        did = "nothing to learn"
    return f"round {row.round}: {row.failures} of {row.prompts} failed; {did}{measured}"


def _why_untrained(row: "RoundMetrics") -> str:
    if row.problem is not None:
        return f"the training was thrown away ({_escaped(row.problem)})"
    return "no revision passed" if row.revised else "collecting failures"


def _short(count: int) -> str:
    """`987`, `12.3k`, `4.5M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
