"""RUN/constitution.yaml and constitution.md, written again as principles come."""

import time
from collections.abc import Sequence

from iteralign import layout
from iteralign.constitution.forms import written
from iteralign.constitution.ledger import Effects, RoundTally
from iteralign.records import Principle
from iteralign.rundir.directory import RunDirectory

_SHARE = 20


class ConstitutionFiles:
    """They hold everything known of each principle, so a large one takes seconds to write. It is written so rarely that this
    takes no more than a twentieth of a run's time, and once more when the run ends in whatever way."""

    def __init__(self, run: RunDirectory, given: Sequence[Principle]) -> None:
        self.ledger: Sequence[Principle] = given
        """All principles, whatever became of them."""
        self._effects = Effects()
        self._run = run
        self._changed = False
        self._written, self._took = time.monotonic(), 0.0

    def __enter__(self) -> "ConstitutionFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()

    def round_done(self, ledger: Sequence[Principle], told: RoundTally) -> None:
        """The ledger after a round, and what that tells of effects."""
        self.ledger = ledger
        self._effects.add(told)

    def changed(self, *, now: bool) -> None:
        """There is something new to be written. `now`: unless it was written a moment ago."""
        self._changed = True
        if now and time.monotonic() - self._written >= _SHARE * self._took:
            self.settle()

    def settle(self) -> None:
        """Write what is new."""
        if not self._changed:
            return
        begin, measured = time.monotonic(), self._effects.of(self.ledger)
        for name, form in ((layout.CONSTITUTION, "yaml"), (layout.CONSTITUTION_TO_READ, "md")):
            self._run.commit(self._run.path / name, written(form, self.ledger, measured))
        self._changed = False
        self._written = time.monotonic()
        self._took = self._written - begin
