"""What lies before a person: the principles of a run that wait for a decision, and one decision at a time in their file.

Whoever asks a person (the terminal, a page in a browser) decides here. Each decision is in the file at once, so nothing that
was decided is lost with the process. Several may decide side by side: who decides on what another has
decided meanwhile is told.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iteralign import layout
from iteralign.constitution.forms import as_yaml
from iteralign.constitution.ledger import extend, in_force
from iteralign.constitution.review import Sheet, SheetEntry, decide, filled, open_ids, read_sheet, sheet
from iteralign.errors import ConfigError, RunDirectoryError
from iteralign.files import write_text
from iteralign.records import Principle
from iteralign.rundir.reader import Run
from iteralign.text.bounded import load_yaml, read_text


class DecidedMeanwhile(ConfigError):
    """Another has decided on the same since it was looked at."""


@dataclass(frozen=True)
class Desk:
    """What is to be decided, and where."""

    run: Run
    path: Path
    """The file with the decisions."""
    round: int | None
    """The round that waits; None for the whole constitution of a finished run."""
    principles: list[Principle]
    adopted: list[Principle]

    @property
    def asked(self) -> list[str]:
        """Ids of those to decide on."""
        return open_ids(self.principles, adopted_too=self.round is None)

    def read(self) -> Sheet:
        """The decisions so far; where there is no file yet, none. Raises ConfigError."""
        return read_sheet(self.path) if self.path.exists() else Sheet.model_validate(load_yaml(self._blank()))

    def prepare(self) -> None:
        """The file is there, to be filled in."""
        with alone(self.path):
            if not self.path.exists():
                write_text(self.path, self._blank())

    def left(self) -> list[str]:
        """Ids of those that nobody has decided on. Raises ConfigError for a decision that can't be carried out."""
        return decide(self.read(), self.principles, self.adopted, self.asked, self.path, self.round)[1]

    def decide(self, entry: SheetEntry, seen: str) -> list[str]:
        """Keep a decision on what stood there as `seen` (see `state_of`); the ids that are left.

        Raises DecidedMeanwhile where something else stands there now, ConfigError for what can't be carried out; then
        nothing is changed.
        """
        self.prepare()
        with alone(self.path):
            now = read_sheet(self.path)
            there = {one.id: one for one in now.principles}
            if entry.id not in self.asked or entry.id not in there:
                raise ConfigError(f"{entry.id} is no principle that waits for a decision here.")
            if state_of(there[entry.id]) != seen:
                who = there[entry.id].by or now.reviewer or "somebody"
                raise DecidedMeanwhile(
                    f"{entry.id}: {who} has decided meanwhile: {there[entry.id].decision}. Look at it again first."
                )
            reviewer = now.reviewer or entry.by
            own = entry.model_copy(update={"by": None if entry.by == reviewer else entry.by})
            entries = [own if one.id == entry.id else one for one in now.principles]
            new = Sheet(reviewer=reviewer, principles=entries)
            left = decide(new, self.principles, self.adopted, self.asked, self.path, self.round)[1]
            write_text(self.path, filled(read_text(self.path), new))
        return left

    def replace(self, decisions: Sheet) -> list[str]:
        """Keep all decisions of a filled-in file; the ids that are left. Raises ConfigError, and then changes nothing."""
        self.prepare()
        with alone(self.path):
            left = decide(decisions, self.principles, self.adopted, self.asked, self.path, self.round)[1]
            write_text(self.path, filled(read_text(self.path), decisions))
        return left

    def carry_out(self) -> Path | None:
        """With every decision made on a finished run, write its constitution as reviewed; None for a round that waits,
        whose decisions the run itself carries out when it goes on."""
        if self.round is not None:
            return None
        decided, left = decide(self.read(), self.principles, [], self.asked, self.path)
        if left:
            raise ConfigError(f"{', '.join(left)} still wait for a decision.")
        result = self.run.path / layout.REVIEWED_CONSTITUTION
        write_text(result, as_yaml(extend([], decided), self.run.constitution()[1]))
        return result

    def questions(self) -> dict[str, str]:
        """The red-team questions by prompt id."""
        return {prompt.id: prompt.question for prompt in self.run.prompts()}

    def _blank(self) -> str:
        return sheet(self.run.path, self.principles, self.adopted, self.asked, self.questions(), self.round)


def desk_of(run: Run) -> Desk:
    """What the run has to be decided on. Raises RunDirectoryError where it has nothing."""
    waiting = run.waiting()
    if waiting is not None:
        adopted = in_force(run.constitution_after(waiting.round - 1))
        return Desk(run, waiting.sheet, waiting.round, waiting.principles, adopted)
    if run.finished:
        return Desk(run, run.path / layout.REVIEW, None, run.constitution()[0], [])
    raise RunDirectoryError(
        f"{run.path} waits for no decision. Go on with it by `iteralign resume {shlex.quote(str(run.path))}`; a "
        "finished run's constitution can be reviewed too."
    )


def state_of(entry: SheetEntry) -> str:
    """A short name of what was decided on it so far, the same for the same decision."""
    return hashlib.sha256(entry.model_dump_json().encode()).hexdigest()[:16]


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process decides in this directory meanwhile. The lock goes with the process that holds it."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
