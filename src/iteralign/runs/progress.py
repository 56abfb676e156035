"""Telling somebody what a run is doing."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from iteralign.activity import Work, told_to
from iteralign.records import Spent
from iteralign.rundir.stages import Stages
from iteralign.scoreboard.metrics import RoundMetrics


class Progress(Protocol):
    """Told what is going on; `iteralign.cli.bars` draws it, `Silent` does not."""

    def stage(self, round_number: int | None, rounds: int, stage: str) -> contextlib.AbstractContextManager[None]:
        """Around each stage that is computed; `round_number` is None before the first round, and `rounds` 0 after the
        last."""
        ...

    def advance(self, work: Work) -> None:
        """Within a stage: how far an activity of it is."""
        ...

    def spending(self, spent: Callable[[], Spent | None]) -> None:
        """Once, where the oracle counts what it takes: what to ask for the totals."""
        ...

    def round_done(self, metrics: RoundMetrics, rounds: int) -> None:
        """After each of so many rounds, those that were done before a resume, too, and after the base model was measured."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Silent:
    """No output."""

    def stage(self, round_number: int | None, rounds: int, stage: str) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()

    def advance(self, work: Work) -> None:
        """Nothing."""

    def spending(self, spent: Callable[[], Spent | None]) -> None:
        """Nothing."""

    def round_done(self, metrics: RoundMetrics, rounds: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def reported(stages: Stages, number: int | None, rounds: int, progress: Progress) -> Stages:
    """The same stages, with `progress` told of each one that is computed, and of what is done within it."""

    @contextlib.contextmanager
    def around(stage: str) -> Iterator[None]:
        with progress.stage(number, rounds, stage), told_to(progress.advance):
            yield

    return stages.told(around)
