"""Whether there is a run, and what it began with. Needs no lock: nothing of it changes."""

from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.files import is_there
from iteralign.records import Principle, RedTeamPrompt
from iteralign.rundir.jsonl import read_records
from iteralign.text.bounded import read_json

VERSION = 2
"""Of the run directory's layout."""


def holds_a_run(path: Path) -> bool:
    """Whether a run was begun here, however far it got. A settings file by itself, a user's own, is none."""
    return is_there(path / layout.CONFIG) and any(is_there(path / name) for name in (layout.LOCK, layout.ENVIRONMENT))


def has_begun(path: Path) -> bool:
    """Whether the run here came so far that there is something to go on with."""
    return holds_a_run(path) and is_there(path / layout.ENVIRONMENT)


def read_environment(run: Path) -> dict[str, Any]:
    """What environment.json says: versions, hardware, seed, settings, base model.

    Raises RunDirectoryError where there is no run or one of another layout, CorruptFileError where it can't be read.
    """
    path = run / layout.ENVIRONMENT
    if not is_there(path):
        raise RunDirectoryError(f"{run} is no run directory (it has no {layout.ENVIRONMENT}).")
    try:
        facts: dict[str, Any] = read_json(path)
        version = facts["run_directory"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} is not what iteralign wrote ({error}). Restore it from a copy.") from error
    tables = {name: facts[name] if isinstance(facts.get(name), dict) else {} for name in ("versions", "hardware")}
    if version != VERSION:
        raise RunDirectoryError(
            f"{run} was written by another version of iteralign (layout {version}, this one reads {VERSION}). Finish it with "
            f"the version named in its {layout.ENVIRONMENT} (iteralign {tables['versions'].get('iteralign', 'unknown')})."
        )
    return {"seed": "unknown"} | facts | tables


def prompts_of(run: Path, name: str) -> list[RedTeamPrompt]:
    """One of the prompt sets. Raises CorruptFileError."""
    return read_records(run / layout.begun_with(name), RedTeamPrompt)


def given_constitution(run: Path) -> list[Principle]:
    """The principles that the run started with; none where it was given none."""
    file = run / layout.begun_with(layout.GIVEN_CONSTITUTION)
    return read_records(file, Principle) if file.exists() else []
