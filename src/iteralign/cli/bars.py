"""What a run is doing, while it does it: bars on a screen, lines where there is none."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from iteralign.activity import round_name, told_to
from iteralign.cli.console import doing, escaped, out, round_line, short_duration, spent_text
from iteralign.cli.pace import Pace

if TYPE_CHECKING:
    from iteralign.activity import Work
    from iteralign.records import Spent
    from iteralign.scoreboard.metrics import RoundMetrics

_WIDEST = 110
_BESIDE = 3
"""Columns left free, for the ^C that a terminal writes behind the bar: in the last one it would begin a new line."""
_LABEL = 34
_QUIET = 30.0
"""Seconds without a line, where there are no bars, after which one says how far the stage is."""


class ConsoleProgress:
    """Implements `progress.Progress`: the run and its stage on a screen; else a line for each round and each long wait."""

    def __init__(self, console: Console = out, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.live = console.is_terminal and not console.is_dumb_terminal
        self._clock = clock
        self._began = clock()
        self._said = clock()
        """When the last line was printed."""
        self._where = "getting ready"
        self._rounds = 0
        self._done = 0
        """Rounds."""
        self._stage: str | None = None
        self._pace = Pace(clock)
        self._spent: Callable[[], Spent | None] = lambda: None
        self._screen = Live(get_renderable=self._drawn, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> "ConsoleProgress":
        if self.live:
            self._screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self._screen.stop()

    @contextlib.contextmanager
    def stage(self, round_number: int | None, rounds: int, stage: str) -> Iterator[None]:
        """What the screen shows until the stage is computed; without rounds, one after the last of them."""
        if rounds:
            self._where = round_name(-1 if round_number is None else round_number, rounds)
            self._rounds = rounds
        else:
            self._where = "finishing"
        self._stage = stage
        self._pace = Pace(self._clock)
        try:
            yield
        finally:
            self._stage = None

    @contextlib.contextmanager
    def working(self, where: str) -> Iterator[None]:
        """Shows what is told within under this name: for what has neither rounds nor stages."""
        self._where, self._stage = where, ""
        with self, told_to(self.advance):
            yield

    def advance(self, work: "Work") -> None:
        """Move the stage's bar."""
        self._pace.tell(work)
        if not self.live and self._clock() - self._said >= _QUIET:
            self._print(Text(", ".join(part for part in (self._label(), *_figures(self._pace), self._money()) if part)))

    def spending(self, spent: "Callable[[], Spent | None]") -> None:
        """Show these totals."""
        self._spent = spent

    def round_done(self, metrics: "RoundMetrics", rounds: int) -> None:
        """One line about the round."""
        self._done, self._rounds = metrics.round + 1, rounds
        self._print(round_line(metrics, rounds))

    def note(self, text: str) -> None:
        """A dim line."""
        self._print(f"[dim]{escaped(text)}[/]")

    def _print(self, text: str | Text) -> None:
        # Ctrl-C reaches the main thread alone; within rich's printing it would have the frame written once more.
        with ThreadPoolExecutor(1) as another:
            another.submit(self.console.print, text, soft_wrap=not self.console.is_terminal).result()
        self._said = self._clock()

    def _drawn(self) -> Group:
        """The run on the first line, its stage on the second, what the oracle took on the third."""
        money = self._money()
        return Group(self._grid(), *([Text(money, "dim", no_wrap=True, overflow="ellipsis")] if money else []))

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        grid.width = min(self.console.width - _BESIDE, _WIDEST)
        grid.add_column(no_wrap=True, overflow="ellipsis", width=_LABEL)
        grid.add_column(ratio=1)
        for width in (7, 7, 12):  # so that nothing moves sideways while figures grow
            grid.add_column(no_wrap=True, justify="right", min_width=width)
        elapsed = short_duration(self._clock() - self._began)
        grid.add_row(Text(self._where, "bold"), _bar(self._done, self._rounds), "", "", elapsed)
        stage, pace = self._stage, self._pace  # the screen is drawn by another thread
        if stage is not None:
            grid.add_row(Text(doing(stage, pace.work)), _bar(pace.done, pace.total), *_figures(pace))
        return grid

    def _label(self) -> str:
        return f"{self._where}: {doing(self._stage or '', self._pace.work)}"

    def _money(self) -> str:
        spent = self._spent()
        return "" if spent is None else spent_text(spent)


def _figures(pace: Pace) -> tuple[str, str, str]:
    """done/all, rate, time left; empty where it is not known."""
    left = pace.left
    return (
        f"{int(pace.done)}/{pace.total}" if pace.total else "",
        _rate_text(pace.rate),
        "" if left is None else f"{short_duration(left)} left",
    )


def _bar(done: float, total: int) -> ProgressBar | str:
    return ProgressBar(total=total, completed=min(done, total)) if total else ""


def _rate_text(rate: float | None) -> str:
    """`12/s`, `0.3/s`, `4.2/min`."""
    if not rate:
        return ""
    if rate < 0.1:
        return f"{60 * rate:.1f}/min"
    return f"{rate:.1f}/s" if rate < 10 else f"{rate:.0f}/s"
