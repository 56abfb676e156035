"""What a run directory says of itself, without its lock: also while the run goes on."""

import os
from pathlib import Path

from rich.markup import escape

from iteralign.cli.console import STAGE_NAMES, out, rounds_table, stage_seconds
from iteralign.cli.oracle import print_calls
from iteralign.config import load_settings
from iteralign.errors import RunDirectoryError
from iteralign.files import read_log
from iteralign.ledgers import waiting_review
from iteralign.metrics import RoundMetrics
from iteralign.rundir import read_records


def print_status(run_dir: Path) -> None:
    """Whether it goes on, the rounds done, and the stage that is next."""
    if not (run_dir / "environment.json").exists():
        raise RunDirectoryError(f"{run_dir} is no run directory (it has no environment.json).")
    settings = load_settings(run_dir / "config.yaml")
    prompts = sum(1 for _ in (run_dir / "prompts.jsonl").open(encoding="utf-8"))
    rounds = -(-prompts // settings.rounds.prompts)
    rounds = min(rounds, settings.rounds.limit or rounds)
    attempts = read_log(run_dir / "attempts.jsonl")
    event, pid = (str(attempts[-1]["event"]), attempts[-1].get("pid")) if attempts else ("starting", None)
    metrics = finished_rounds(run_dir)
    called = f" ({escape(settings.name)})" if settings.name else ""
    out.print(f"{escape(str(run_dir))}{called}: {escape(_state(event, pid))}, {len(metrics)} of {rounds} rounds done")
    if event != "finished":
        out.print(f"next: {_next_stage(run_dir, len(metrics))}")
    if metrics:
        out.print(rounds_table(metrics, stage_seconds(run_dir)))
    print_calls(run_dir)


def finished_rounds(run_dir: Path) -> list[RoundMetrics]:
    """The metrics of the rounds done so far; the base model's only once the whole run is finished."""
    if (run_dir / "metrics.jsonl").exists():
        return [row for row in read_records(run_dir / "metrics.jsonl", RoundMetrics) if row.round >= 0]
    files = sorted((run_dir / "rounds").glob("*/metrics.json"))
    return [RoundMetrics.model_validate_json(file.read_text(encoding="utf-8")) for file in files]


def _state(event: str, pid: object) -> str:
    """A process that ended without a word was killed; its pid on another machine can't be looked up."""
    if event == "finished" or event.startswith("stopped"):
        return event
    return (
        f"going on (process {pid})" if isinstance(pid, int) and _is_alive(pid) else "killed; `iteralign resume` goes on"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _next_stage(run_dir: Path, done: int) -> str:
    directory = run_dir / "rounds" / f"{done:04d}" if (run_dir / "rounds").exists() else run_dir / "baseline"
    if waiting_review(run_dir) is not None:
        return f"{directory.name}: a person decides on its principles: iteralign constitution review {run_dir}"
    stages = list(STAGE_NAMES)  # some are left out by settings, so what follows the last one there is next
    there = [place for place, stage in enumerate(stages) if list(directory.glob(f"{stage}.json*"))]
    after = stages[max(there, default=-1) + 1 :]
    return f"{directory.name}: {STAGE_NAMES[after[0]]}" if after else f"{directory.name}: its end"
