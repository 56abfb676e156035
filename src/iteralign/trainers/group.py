"""A lasting group of training processes, whoever starts them: started at its first job, ended with the run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from iteralign.errors import TrainingDiverged, TrainingError

Outcome = dict[str, Any]
"""What a process has to tell of a job (member.do)."""


class GroupLost(TrainingError):
    """Processes are gone, or failed in a way that is not the job's fault: a fresh group may do it."""


class Group(ABC):
    """Processes that train together, one per device. What they have imported and how they are connected lasts from job to job;
    weights do not."""

    processes: int
    attempts: int = 1
    """How many times a job is begun, each time by fresh processes."""

    @abstractmethod
    def run(self, job: dict[str, Any]) -> Outcome:
        """What the first process has to tell of a job once all of them have done it; the job's keys are those that `member.do`
        reads. Raises TrainingError, and GroupLost where another try may go well."""

    def close(self) -> None:
        """End the processes."""
        return


def raise_error(outcomes: Sequence[Outcome | None]) -> None:
    """The error that they tell of, if one does; an expected one before what it did to the other processes."""
    failed = sorted(
        (one for one in outcomes if one is not None and "error" in one), key=lambda one: not one["expected"]
    )
    if failed:
        first = failed[0]
        kind = TrainingDiverged if first["diverged"] else TrainingError if first["expected"] else GroupLost
        raise kind(first["error"])
