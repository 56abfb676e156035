"""The runs under a directory, a line of the first page each."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from iteralign.errors import IteralignError
from iteralign.report.gains import Gain, cost_of, gains
from iteralign.rundir.begun import holds_a_run
from iteralign.rundir.reader import Run, State, read_run
from iteralign.scoreboard.metrics import final

_DEEPEST = 4
"""Directories between the one that is looked into and a run."""
_MOST_RUNS = 500


@dataclass(frozen=True)
class RunLine:
    """What the first page says of a run."""

    key: str
    """Its directory below the one that is served; `.` for that itself."""
    name: str
    state: State | None
    """None where the run can't be read; `problem` says why."""
    problem: str = ""
    done: int = 0
    planned: int = 0
    """Rounds."""
    rates: tuple[float, ...] = ()
    """Unacceptable held-out answers, by measurement."""
    cost: str = ""
    gains: tuple[Gain, ...] = ()


def runs_under(directory: Path) -> dict[str, Path]:
    """Run directories by their key, newest first; what is inside a run is not looked at."""
    found = sorted(_runs(directory, _DEEPEST), key=_changed, reverse=True)[:_MOST_RUNS]
    return {path.relative_to(directory).as_posix(): path for path in found}


def _runs(directory: Path, deeper: int) -> Iterator[Path]:
    if holds_a_run(directory):
        yield directory
    elif deeper:
        try:
            inside = [Path(entry) for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for path in inside:
            yield from _runs(path, deeper - 1)


def _changed(path: Path) -> float:
    try:
        return max(path.stat().st_mtime, *(entry.stat().st_mtime for entry in os.scandir(path) if entry.is_file()))
    except OSError:
        return 0.0


def line_of(key: str, path: Path) -> RunLine:
    """What is known of it; a run that can't be read has a line that says why."""
    try:
        run = read_run(path)
        return _line(key, run)
    except (IteralignError, OSError) as error:  # also of a run that is being deleted
        return RunLine(key, path.name, None, str(error))


def as_it_is(line: RunLine, path: Path) -> RunLine:
    """The same with what changes between two rounds: the run's state and, while it goes on, how far it is and its cost."""
    if line.problem:
        return line
    try:
        run = read_run(path)
        line = replace(line, state=run.state)
        if line.state == "running":
            line = replace(line, done=run.rounds_done(), cost=cost_of(run.spent().values()))
        return line
    except (IteralignError, OSError):
        return line_of(line.key, path)


def _line(key: str, run: Run) -> RunLine:
    rows = run.metrics()
    counts = [row.held_out for row in rows if row.held_out is not None and row.held_out.total]
    return RunLine(
        key=key,
        name=run.name,
        state=run.state,
        done=sum(row.round >= 0 for row in rows),
        planned=run.planned_rounds(),
        rates=tuple(count.count / count.total for count in counts),
        cost=cost_of(run.spent().values()),
        gains=tuple(gains(rows[0], final(rows))),
    )
