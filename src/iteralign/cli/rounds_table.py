"""The rounds of a run as a table of one screen."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from iteralign.cli.console import rate, short_count, short_duration
from iteralign.layout import round_directory
from iteralign.scoreboard.metrics import RoundMetrics

_LAST = 12
"""Rounds that have a line of their own at the end of a long run."""
_MOST = 20
"""Rounds that are few enough for a line each."""


def rounds_table(metrics: Sequence[RoundMetrics], seconds: dict[str, float]) -> Table:
    """`seconds` by the name of the round's directory. Of many rounds the first ones share a line: their sums, and what was
    measured last among them."""
    table = Table(
        title="Rounds", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0), header_style="bold"
    )
    names = ("round", "prompts", "failed", "prin-\nciples", "verified", "held-out\nunacceptable")
    for name in (*names, "benign\nrefused", "time", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    rounds = [row for row in metrics if row.round >= 0]
    for row in metrics:
        if row.round < 0:
            table.add_row("base", "", "", "", "", *_measured([row]), _time([row], seconds), "")
    own = _LAST if len(rounds) > _MOST else len(rounds)
    for rows in (rounds[:-own], *([row] for row in rounds[-own:])):
        if rows:
            table.add_row(*_cells(rows, seconds))
    return table


def _cells(rows: Sequence[RoundMetrics], seconds: dict[str, float]) -> Iterable[str]:
    first, last = rows[0].round, rows[-1].round
    spent = [row.tokens for row in rows]
    return (
        str(first) if first == last else f"{first}-{last}",
        str(sum(row.prompts for row in rows)),
        str(sum(row.failures for row in rows)),
        str(sum(row.principles for row in rows)),
        f"{sum(row.verified for row in rows)}/{sum(row.revised for row in rows)}",
        *_measured(rows),
        _time(rows, seconds),
        short_count(sum(tokens.read + tokens.written + tokens.trained for tokens in spent)),
    )


def _measured(rows: Sequence[RoundMetrics]) -> tuple[str, str]:
    held_out = [row.held_out for row in rows if row.held_out is not None]
    benign = [row.benign_refusals for row in rows if row.benign_refusals is not None]
    return rate(held_out[-1] if held_out else None), rate(benign[-1] if benign else None)


def _time(rows: Sequence[RoundMetrics], seconds: dict[str, float]) -> str:
    names = (round_directory(row.round).rpartition("/")[2] for row in rows)
    known = [seconds[name] for name in names if name in seconds]
    return short_duration(sum(known) if known else None)
