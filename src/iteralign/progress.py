"""Telling somebody what a run is doing."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from iteralign.metrics import RoundMetrics
from iteralign.rundir import Stages


class Progress(Protocol):
    """Told what is going on; `iteralign.cli.console` draws it, `Silent` does not."""

    def stage(self, round_number: int | None, rounds: int, stage: str) -> contextlib.AbstractContextManager[None]:
        """Around each stage that is computed; `round_number` is None before the first round."""
        ...

    def advance(self, done: int, total: int) -> None:
        """Within a stage: `done` of `total` prompts or optimiser steps."""
        ...

    def round_done(self, metrics: RoundMetrics) -> None:
        """After each round, and after the base model was measured."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know."""
        ...


class Silent:
    """No output."""

    def stage(self, round_number: int | None, rounds: int, stage: str) -> contextlib.AbstractContextManager[None]:
        """Nothing."""
        return contextlib.nullcontext()

    def advance(self, done: int, total: int) -> None:
        """Nothing."""

    def round_done(self, metrics: RoundMetrics) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def reported(stages: Stages, number: int | None, rounds: int, progress: Progress) -> Stages:
    """The same stages, with `progress` told of each one that is computed."""

    @contextlib.contextmanager
    def around(stage: str) -> Iterator[None]:
        with progress.stage(number, rounds, stage):
            yield

    stages.around = around
    return stages
