"""What a run is doing: the part of its page that changes while one looks."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from iteralign import layout
from iteralign.activity import round_name
from iteralign.errors import CorruptFileError
from iteralign.records import Principle, Verdict
from iteralign.report.gains import cost_of
from iteralign.report.status import Headway, headway_of
from iteralign.rundir.reader import Run
from iteralign.rundir.rounds import KeptRound

_NEWEST = 5
"""Failures, principles and warnings shown."""


@dataclass(frozen=True)
class OracleSpent:
    """Of the oracle's budget."""

    tokens: int
    token_budget: int | None
    cost: str
    cost_budget: float | None

    @property
    def share(self) -> float | None:
        """Of the cap in tokens; None where there is none."""
        return self.tokens / self.token_budget if self.token_budget else None


@dataclass(frozen=True)
class Now:
    """Everything that the head of a run's page shows."""

    status: Headway
    where: str
    """The round under way."""
    doing: str
    """Its stage."""
    usual: float | None
    """Seconds that this stage took in earlier rounds, on average."""
    left: float | None
    """Seconds that the rounds still to come take, if they take as long as those that are done."""
    spent: OracleSpent
    warnings: list[str]
    failures: list[Verdict]
    principles: list[Principle]
    waits: bool
    """For a person's decision."""


def now_of(run: Run) -> Now:
    """Raises RunDirectoryError. What is half written or torn at this moment is left out."""
    status = headway_of(run)
    newest = run.newest(2)  # the one under way may have nothing yet
    stage = layout.stage_named(status.next_stage or "")
    totals, oracle = status.oracle.values(), run.settings.oracle
    return Now(
        status=status,
        where="" if status.next_round is None else round_name(status.next_round, status.rounds),
        doing="" if stage is None else stage.in_full,
        usual=None if stage is None else _usual(run, stage),
        left=_left(status),
        spent=OracleSpent(sum(one.tokens for one in totals), oracle.token_budget, cost_of(totals), oracle.cost_budget),
        warnings=list(dict.fromkeys(run.warnings()))[-_NEWEST:],
        failures=_failures(newest),
        principles=_principles(newest),
        waits=status.state == "waiting",
    )


def _failures(rounds: list[KeptRound]) -> list[Verdict]:
    for one in rounds:
        with contextlib.suppress(CorruptFileError):
            failed = [verdict for verdict in one.verdicts() if verdict.label == "unacceptable"]
            if failed:
                return failed[:_NEWEST]
    return []


def _principles(rounds: list[KeptRound]) -> list[Principle]:
    """Adopted ones, or while a round is under way what was proposed in it."""
    for one in rounds:
        for stage in (layout.PRINCIPLES, layout.TRIED, layout.DISTINCT, layout.PROPOSALS):
            with contextlib.suppress(CorruptFileError):
                found = one.read(stage)
                if found:
                    return found[:_NEWEST]
    return []


def _usual(run: Run, stage: layout.Stage) -> float | None:  # type: ignore[type-arg]  # of any record
    spent = [seconds for place, name, seconds in run.each_timing() if name == stage and place != layout.BASELINE]
    return sum(spent) / len(spent) if spent else None


def _left(status: Headway) -> float | None:
    done = status.rounds_done
    if status.state == "finished" or not done:
        return None
    names = (layout.round_directory(number).rpartition("/")[2] for number in range(done))
    return sum(status.seconds.get(name, 0.0) for name in names) / done * max(0, status.rounds - done)


def settled(run: Path) -> str:
    """The same until a round has ended, or the base model is measured further."""
    names = (layout.METRICS, layout.CONSTITUTION, layout.GUARD_RAILS, layout.MODEL, layout.BASELINE)
    return _seen(run, names)


def stamp(run: Path) -> str:
    """The same as long as nothing has changed that the run's page shows: sizes and times of its logs and newest round."""
    try:
        newest = [f"{layout.ROUNDS}/{max(os.listdir(run / layout.ROUNDS))}"]
    except (OSError, ValueError):
        newest = []
    return f"{settled(run)}; {_seen(run, (*layout.LOGS, *newest))}"


def _seen(run: Path, names: Iterable[str]) -> str:
    parts = []
    for name in names:
        with contextlib.suppress(OSError):
            found = (run / name).stat()
            parts.append(f"{name} {found.st_size} {found.st_mtime_ns}")
    return "; ".join(parts)
