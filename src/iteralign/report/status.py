"""What a run directory says of itself, read without its lock: also while the run goes on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from iteralign.files import count_records, number, read_log
from iteralign.oracles.budget import Total, read_calls, totals_by_step
from iteralign.rundir import layout
from iteralign.rundir.jsonl import read_record, read_rows
from iteralign.rundir.ledgers import check_run, waiting_review
from iteralign.scoreboard.metrics import RoundMetrics
from iteralign.settings.settings import load_settings

State = Literal["running", "waiting", "stopped", "killed", "finished"]
"""waiting: for a person's review; stopped: it ended early and said why; killed: it ended without a word."""

_IN_ORDER = [stage for stage in layout.STAGES if stage not in (layout.REVIEWED, layout.TRIED_AGAIN)]
"""Those that have one file a round. Some are left out by settings, so the one behind the last that is there is next."""


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

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
    metrics: list[RoundMetrics]
    """Of the rounds done; the base model's (round -1) once the run is finished."""
    seconds: dict[str, float]
    """Spent so far, by the name of the round's directory, all attempts together."""
    oracle: dict[str, Total]
    """Calls, tokens and cost by step; empty where none was made."""


def read_status(run_dir: Path) -> RunStatus:
    """Raises RunDirectoryError for a directory that holds no run."""
    check_run(run_dir)
    settings = load_settings(run_dir / layout.CONFIG)
    prompts = count_records(run_dir / layout.begun_with(layout.PROMPTS))
    rounds = -(-prompts // settings.rounds.prompts)
    metrics = _metrics(run_dir)
    done = sum(row.round >= 0 for row in metrics)
    state, reason, process = _state(run_dir)
    next_round, next_stage = (None, None) if state == "finished" else _next(run_dir, done)
    return RunStatus(
        run=run_dir,
        name=settings.name,
        state=state,
        reason=reason,
        process=process,
        rounds=min(rounds, settings.rounds.limit or rounds),
        rounds_done=done,
        next_round=next_round,
        next_stage=next_stage,
        metrics=metrics,
        seconds=stage_seconds(run_dir),
        oracle=totals_by_step(read_calls(run_dir / layout.CALLS)),
    )


def stage_seconds(run_dir: Path) -> dict[str, float]:
    """Seconds spent by round directory, all attempts together."""
    seconds: dict[str, float] = {}
    for entry in read_log(run_dir / layout.TIMINGS):
        name = str(entry.get("stage", "")).partition("/")[0]
        seconds[name] = seconds.get(name, 0.0) + number(entry.get("seconds"))
    return seconds


def _metrics(run_dir: Path) -> list[RoundMetrics]:
    if (run_dir / layout.METRICS).exists():
        return read_rows(run_dir / layout.METRICS, RoundMetrics)
    files = sorted((run_dir / layout.ROUNDS).glob(f"*/{layout.ROUND_METRICS}"))
    return [read_record(file, RoundMetrics) for file in files]


def _state(run_dir: Path) -> tuple[State, str | None, int | None]:
    """A process that ended without a word was killed; its pid on another machine can't be looked up."""
    attempts = read_log(run_dir / layout.ATTEMPTS)
    last = attempts[-1] if attempts else {}
    event, pid = str(last.get("event", "")), last.get("pid")
    process = pid if isinstance(pid, int) else None
    if event == "finished":
        return "finished", None, process
    if event.startswith("stopped"):
        reason = event.partition(": ")[2]
        return ("waiting" if waiting_review(run_dir) is not None else "stopped"), reason, process
    return ("running" if process is not None and _is_alive(process) else "killed"), None, process


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _next(run_dir: Path, done: int) -> tuple[int, str | None]:
    begun = (run_dir / layout.ROUNDS).exists()
    directory = run_dir / layout.round_directory(done if begun else -1)
    if begun and waiting_review(run_dir) is not None:
        return done, layout.REVIEWED
    there = [place for place, stage in enumerate(_IN_ORDER) if list(directory.glob(stage.file))]
    after = _IN_ORDER[max(there, default=-1) + 1 :]
    return done if begun else -1, after[0] if after else None
