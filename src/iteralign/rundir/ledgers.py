"""A run's principles, read from its directory, also while it goes on or waits."""

from pathlib import Path

from iteralign.constitution.given import read_ledger
from iteralign.constitution.ledger import Effect, extend
from iteralign.errors import RunDirectoryError
from iteralign.files import is_there
from iteralign.records import Principle, RedTeamPrompt
from iteralign.rundir import layout
from iteralign.rundir.directory import RunDirectory
from iteralign.rundir.jsonl import read_records
from iteralign.rundir.stages import Stages


def read_run_ledger(run_dir: Path) -> tuple[list[Principle], dict[str, Effect]]:
    """Every principle after the last finished round, and the measured effects by id."""
    path = run_dir / layout.CONSTITUTION
    if not path.exists():
        check_run(run_dir)
        raise RunDirectoryError(f"{run_dir} has no constitution yet: no round has ended.")
    return read_ledger(path)


def ledger_after(run_dir: Path, number: int) -> list[Principle]:
    """Every principle as it was at the end of a round; -1 is before the first. Raises RunDirectoryError."""
    check_run(run_dir)
    rounds = sorted((run_dir / layout.ROUNDS).glob("[0-9]*"))
    if number >= len(rounds):
        raise RunDirectoryError(f"{run_dir} has {len(rounds)} rounds so far; there is no round {number}.")
    ledger = RunDirectory.given_constitution(run_dir)
    for directory in rounds[: number + 1]:
        ledger = extend(ledger, _stage(directory, layout.PRINCIPLES))
    return ledger


def waiting_review(run_dir: Path) -> tuple[int, Path, list[Principle]] | None:
    """(round, file to be filled in, its principles) where the run waits for a person; None where it does not."""
    check_run(run_dir)
    for path in sorted((run_dir / layout.ROUNDS).glob(f"*/{layout.review_sheet('*')}")):
        sitting = int(path.stem.partition("-")[2])
        if not (path.parent / layout.REVIEWED.sitting(sitting).file).exists():
            before = [layout.TRIED_AGAIN.sitting(sitting - 1), layout.TRIED, layout.DISTINCT, layout.PROPOSALS]
            stage = next(name for name in before if (path.parent / name.file).exists())
            return int(path.parent.name), path, _stage(path.parent, stage)
    return None


def questions_of(run_dir: Path) -> dict[str, str]:
    """The run's red-team questions by prompt id."""
    return {
        prompt.id: prompt.question
        for prompt in read_records(run_dir / layout.begun_with(layout.PROMPTS), RedTeamPrompt)
    }


def check_run(run_dir: Path) -> None:
    """Raises RunDirectoryError for a directory that holds no run."""
    if not is_there(run_dir / layout.ENVIRONMENT):
        raise RunDirectoryError(f"{run_dir} is no run directory (it has no {layout.ENVIRONMENT}).")


def _stage(directory: Path, stage: str) -> list[Principle]:
    kept = Stages(directory).read(stage)
    return [one for one in kept if isinstance(one, Principle)] if isinstance(kept, list) else []
