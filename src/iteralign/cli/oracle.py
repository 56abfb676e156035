"""What the oracle's calls took, and the cache of its replies, as the user sees them."""

import datetime
import sqlite3
from collections.abc import Sequence

import typer
from rich.markup import escape
from rich.table import Table

from iteralign.cli.console import out
from iteralign.errors import OracleError
from iteralign.files import size_text
from iteralign.oracles.budget import Call, Total, total_of, totals_by_step
from iteralign.oracles.cache import ReplyCache


def calls_table(calls: Sequence[Call]) -> Table | None:
    """Calls, tokens and cost by step; None where none was made."""
    if not calls:
        return None
    table = Table(
        title="Oracle", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0), header_style="bold"
    )
    table.add_column("step")
    for name in ("calls", "cached", "failed", "tokens in", "reused", "tokens out", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    steps = totals_by_step(calls)
    for step, total in steps.items():
        table.add_row(step, *_row(total))
    if len(steps) > 1:
        table.add_row("all", *_row(total_of(calls)), style="bold")
    return table


def print_calls(calls: Sequence[Call]) -> None:
    """The table, and what is not known about the cost; nothing where none was made."""
    table = calls_table(calls)
    if table is None:
        return
    out.print()
    out.print(table)
    unpriced = sorted({call.model for call in calls if call.cost is None})
    if unpriced:
        out.print(
            f"cost unknown: no price is known for {', '.join(unpriced)} where it was asked; add it to a table of your "
            "own (oracle.prices_file)",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
    if any(call.reused_tokens and not call.cached for call in calls):
        out.print("reused: tokens in that the server did not have to read again, as it says", style="dim")
    if any(call.estimated for call in calls):
        out.print("tokens are estimated where the endpoint did not count them", style="dim")


def cost_text(total: Total) -> str:
    """`$0.0123`, `unknown`, or the known part of a sum: `$0.0123 + unknown`."""
    known = f"${total.known_cost:.4f}"
    if not total.unpriced:
        return known
    return f"{known} + unknown" if total.known_cost else "unknown"


def print_cache() -> None:
    """Where the replies are kept, how many, of which models, and since when. Raises OracleError."""
    stats = _cache().stats()
    out.print(f"{escape(str(stats.path))}: {stats.replies:,} replies, {size_text(stats.size_bytes)}", soft_wrap=True)
    for model, count in stats.by_model.items():
        out.print(f"{count:>8,}  {model}", markup=False)
    if stats.oldest is not None:
        since = datetime.datetime.fromtimestamp(stats.oldest, datetime.UTC)
        out.print(f"oldest: {since:%Y-%m-%d %H:%M} UTC", style="dim")


def clear_cache(model: str | None, yes: bool) -> None:
    """Forget the replies of a model, or all, after asking. Raises OracleError."""
    cache = _cache()
    stats = cache.stats()
    count = stats.replies if model is None else stats.by_model.get(model, 0)
    which = "" if model is None else f" of {model}"
    if not count:
        known = ", ".join(stats.by_model)
        out.print(f"There are no replies{which}." + (f" There are of: {known}." if known else ""), markup=False)
        return
    if not yes and not typer.confirm(f"Forget {count:,} replies{which}? They would have to be paid for again."):
        out.print("Nothing was removed.")
        return
    try:
        removed = cache.clear(model)
    except sqlite3.Error as error:
        raise OracleError(f"The reply cache {cache.path} can't be cleared: {error}. Is a run using it?") from error
    out.print(f"Removed {removed:,} replies{which}.", markup=False)


def _cache() -> ReplyCache:
    cache = ReplyCache()
    if cache.problem is not None:
        raise OracleError(
            f"The reply cache {cache.problem}. Mend its permissions, or remove the file if it is damaged."
        )
    return cache


def _row(total: Total) -> Sequence[str]:
    return (
        f"{total.calls:,}",
        f"{total.cached:,}",
        f"{total.failed:,}",
        f"{total.prompt_tokens:,}",
        f"{total.reused_tokens:,}",
        f"{total.completion_tokens:,}",
        cost_text(total),
    )
