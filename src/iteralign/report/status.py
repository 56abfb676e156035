"""`iteralign status`: how far a run is, also while it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from iteralign import layout
from iteralign.oracles.budget import Total
from iteralign.rundir.reader import Run, State, read_run
from iteralign.rundir.rounds import KeptRound, kept_round
from iteralign.scoreboard.metrics import RoundMetrics

_ONLY_SOME = (
    layout.GROWN,
    layout.DRAWS,
    layout.PLACES,
    layout.SHOWN,
    layout.REVIEWED,
    layout.TRIED_AGAIN,
    layout.TWINS,
)
_IN_ORDER = [stage for stage in layout.STAGES if stage not in _ONLY_SOME]
"""Those that take time and have one file a round. Some are left out by settings, so the one behind the last that is there is
next."""


@dataclass(frozen=True)
class Headway:
    """How far a run is, without its figures: read at once, however many rounds it has."""

    run: Path
    name: str | None
    state: State
    reason: str | None
    """Why it stopped: the error's name."""
    process: int | None
    """Of the latest attempt; on whichever machine that was."""
    rounds: int
    """Planned; a guard rail may end the run earlier."""
    rounds_done: int
    next_round: int | None
    """The round under way, or the next one; -1 for the base model's measurement, None for a finished run."""
    next_stage: str | None
    """The stage under way, or the next one, as its file is called; None where only the round's end is left."""
    seconds: dict[str, float]
    """Spent so far, by the name of the round's directory, all attempts together."""
    oracle: dict[str, Total]
    """Calls, tokens and cost by step; empty where none was made."""


@dataclass(frozen=True)
class RunStatus(Headway):
    """The same with its figures."""

    metrics: list[RoundMetrics]
    """Of the rounds done; the base model's (round -1) once the run is finished."""


def read_status(run_dir: Path) -> RunStatus:
    """Raises RunDirectoryError for a directory that holds no run."""
    run = read_run(run_dir)
    headway = headway_of(run)
    return RunStatus(**{one.name: getattr(headway, one.name) for one in fields(Headway)}, metrics=run.done())


def headway_of(run: Run) -> Headway:
    """Raises what reading its logs does."""
    attempt, done = run.attempt(), run.rounds_done()
    next_round, next_stage = (None, None) if attempt.state == "finished" else _next(run, done)
    return Headway(
        run=run.path,
        name=run.settings.name,
        state=attempt.state,
        reason=attempt.reason,
        process=attempt.process,
        rounds=run.planned_rounds(),
        rounds_done=done,
        next_round=next_round,
        next_stage=next_stage,
        seconds=run.seconds(),
        oracle=run.spent(),
    )


def _next(run: Run, done: int) -> tuple[int, str | None]:
    begun = bool(run.newest(1))
    if run.waiting() is not None:
        return done, layout.REVIEWED
    under_way = kept_round(run.path, done) if begun else run.baseline
    there = [_IN_ORDER.index(stage) for stage in under_way.stages if stage in _IN_ORDER]
    after = _IN_ORDER[max(there, default=-1) + 1 :]
    last = done + 1 == run.planned_rounds()
    if begun and after[:1] == [layout.PROPOSALS] and _too_few_failures(run, under_way, last):
        to_measure = last and not _measured(run.done())
        after = [stage for stage in after if to_measure and stage >= layout.HELD_OUT_VERDICTS]
    return done if begun else -1, after[0] if after else None


def _measured(rounds: Sequence[RoundMetrics]) -> bool:
    """Whether the weights in use after these were measured, as the base model's always are."""
    return not rounds or rounds[-1].weights in (-1, *(row.measured for row in rounds))


def _too_few_failures(run: Run, judged: KeptRound, last: bool) -> bool:
    """Whether the round proposes nothing and trains nothing, since too little of it failed."""
    before = kept_round(run.path, judged.number - 1).metrics() if judged.number > 0 else None
    waiting = before.collected if before is not None and before.collecting else 0
    least = 1 if last else run.settings.rounds.min_failures
    return waiting + sum(verdict.label == "unacceptable" for verdict in judged.verdicts()) < least
