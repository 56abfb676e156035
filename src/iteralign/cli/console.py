"""What the user reads in the terminal: lines, tables, errors."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from iteralign.activity import round_name
from iteralign.text.control import visible

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

    from iteralign.activity import Work
    from iteralign.records import Spent
    from iteralign.runs.rounds import Outcome
    from iteralign.scoreboard.ending import Ending
    from iteralign.scoreboard.metrics import Count, RoundMetrics

_ACTIVITIES = {"judge": "judging", "guard": "judging", "propose": "proposing", "relate": "comparing"}
"""Of the oracle's clients, by their step."""


class _Visible(Console):
    """Shows text from outside as text: what rich's own styles write commands the terminal, what is printed never does."""

    def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


out = _Visible(highlight=False)


def fail(message: str, code: int) -> int:
    """Print an expected error; returns the exit code."""
    _Visible(stderr=True, highlight=False).print(f"[bold red]error:[/] {escaped(message)}", soft_wrap=True)
    return code


def print_outcome(outcome: "Outcome", console: Console = out) -> None:
    """The table, what happened to answers nobody could judge, and where everything is."""
    from iteralign import layout
    from iteralign.cli.rounds_table import rounds_table
    from iteralign.rundir.reader import read_run

    console.print()
    console.print(rounds_table(outcome.metrics, read_run(outcome.directory).seconds()))
    console.print("[dim]rates in percent, 95% Wilson intervals; verified: failures mended of those tried[/]")
    from iteralign.scoreboard.metrics import final

    base, last = outcome.metrics[0], final(outcome.metrics)
    console.print(f"\nheld-out unacceptable: {rate(base.held_out)} before, [bold]{rate(last.held_out)}[/] after")
    refused = f"{rate(base.benign_refusals)} before, [bold]{rate(last.benign_refusals)}[/] after"
    console.print(f"benign refused:        {refused}")
    print_caution(outcome.metrics, console)
    for row in outcome.metrics:
        if row.problem is not None:
            console.print(f"[yellow]round {row.round} was thrown away:[/] {escaped(row.problem)}", soft_wrap=True)
        if row.stopped is not None:
            console.print(f"[yellow]ended after round {row.round}:[/] {escaped(row.stopped)}", soft_wrap=True)
    if outcome.undetermined:
        reasons = sorted({verdict.reason for verdict in outcome.undetermined})
        console.print(
            f"[yellow]{len(outcome.undetermined)} answers could not be judged[/] and were not trained on: "
            + escaped("; ".join(reasons[:3])),
            soft_wrap=True,
        )
    place = outcome.directory
    count = len(outcome.constitution)
    lines = [
        f"constitution: {count} principles, {place / layout.CONSTITUTION_TO_READ}",
        f"model:        {place / layout.MODEL}",
    ]
    if (place / layout.REPORT).exists():
        lines.append(f"report:       {place / layout.REPORT}")
    for line in [*lines, f"everything:   {place}"]:
        console.print(line, markup=False)


def print_caution(metrics: "Sequence[RoundMetrics]", console: Console = out) -> None:
    """What is to be done before the figures are believed, where there is something."""
    from iteralign.scoreboard.metrics import final

    cautions = "; ".join(final(metrics).cautions)
    if cautions:
        console.print(f"[yellow]read the answers before you believe these figures:[/] {cautions}", soft_wrap=True)


def print_ending(end: "Ending", console: Console = out) -> None:
    """What became of the run, why, and what to try."""
    style = "bold" if end.as_asked else "bold yellow"
    console.print(f"\n[{style}]{escaped(end.happened)}[/]", soft_wrap=not console.is_terminal)
    if end.advice is not None:
        console.print(escaped(end.advice), soft_wrap=not console.is_terminal)


def rate(count: "Count | None") -> str:
    """`12.5% [7, 20]`, or - where nothing was measured."""
    from iteralign.stats.intervals import Proportion

    return "-" if count is None else escaped(str(Proportion(count.count, count.total)))


def is_terminal() -> bool:
    """Whether a person is at the other end of standard output."""
    return sys.stdout.isatty()


def round_line(row: "RoundMetrics", rounds: int | None = None) -> str:
    """What came of a round, in one line."""
    measured = ""
    if row.held_out is not None or row.benign_refusals is not None:
        measured = f"; held-out unacceptable {rate(row.held_out)}, benign refused {rate(row.benign_refusals)}"
    if row.cautions and row.problem is None:
        measured += f"; {', '.join(row.cautions)}: read them"
    if row.round < 0:
        return "base model" + (measured.replace(";", ":", 1) or ": not measured")
    if row.trained:
        did = f"{row.principles} new principles, {row.verified} of {row.revised} revisions verified, trained"
    elif row.collected:
        did = "not trained: " + _why_untrained(row)
    else:
        did = "nothing to learn"
    return f"{round_name(row.round, rounds)}: {row.failures} of {row.prompts} failed; {did}{measured}"


def doing(stage: str, work: "Work | None") -> str:
    """A stage and what is done in it: `answering again, try 2 of 3: judging`."""
    from iteralign import layout

    known = layout.stage_named(stage)
    name = stage if known is None else known.doing
    if work is None:
        return name
    what = _ACTIVITIES.get(work.what, work.what)
    of_several = {  # activities in a stage, the one that its words say; elsewhere there is one alone
        layout.RESPONSES: "answering",
        layout.VERDICTS: "judging",
        layout.TRIED: "",
        layout.REVISIONS: "answering",
        layout.HELD_OUT_VERDICTS: "",
        layout.BENIGN_VERDICTS: "",
        layout.SHOWN: "answering",
    }
    whole = ", ".join(text for text in (name, work.part) if text)
    alone = what if stage else ""
    return whole if what == of_several.get(known or stage, alone) else ": ".join(filter(None, (whole, what)))


def spent_text(spent: "Spent") -> str:
    """`oracle: 12,345 of 100,000 tokens, $0.0123 of $1.00`."""
    tokens = f"{spent.tokens:,}" + (f" of {spent.token_budget:,}" if spent.token_budget is not None else "")
    cost = f"${spent.cost:.4f}" + (" + unknown" if spent.unpriced else "")
    if spent.unpriced and not spent.cost:
        cost = "cost unknown"
    budget = f" of ${spent.cost_budget:,.2f}" if spent.cost_budget is not None else ""
    return f"oracle: {tokens} tokens, {cost}{budget}"


def _why_untrained(row: "RoundMetrics") -> str:
    if row.problem is not None:
        return f"the training was thrown away ({escaped(row.problem)})"
    if row.collecting:
        return "collecting failures"
    return "no revision passed" if row.revised else "no principle was adopted"


def short_count(count: int) -> str:
    """`987`, `12.3k`, `4.5M`."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def short_duration(seconds: float | None) -> str:
    """`1:05`, `2:01:05`; nothing for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def escaped(text: str) -> str:
    """As itself, whatever rich would make of brackets in it."""
    from rich.markup import escape

    return escape(text)
