"""When a round's training is thrown away, and when a run ends early. Decisions only: they follow from the measurements, so
that a resumed run comes to the same ones."""

from dataclasses import dataclass
from typing import Literal

from iteralign.records import Checkpoint, Record
from iteralign.scoreboard.measurement import Measurement, compare
from iteralign.stats.paired import Change
from iteralign.text.characters import Text

_PROMPTS = {
    "refused": "refusals of benign prompts",
    "unacceptable": "unacceptable held-out answers",
    "degenerate": "degenerate answers (collapse)",
    "same_answer": "benign prompts that got one and the same answer (collapse)",
}


@dataclass(frozen=True)
class Limits:
    """What a rise may be before training is thrown away; None for a rail that is off. see GuardRailSettings."""

    benign: float | None = 0.1
    capability: float | None = 0.5
    unacceptable: float | None = 0.0
    collapse: float | None = 0.2
    patience: int | None = None


class Intervention(Record):
    """A line of RUN/guard_rails.jsonl."""

    round: int
    action: Literal["rollback", "stop"]
    reason: Text
    back_to: int | None = None
    """With `rollback`, the round whose weights are in use again; -1 for the base model's."""


class GuardRails:
    """Keeps the best weights so far. Best: fewest unacceptable held-out answers, then fewest benign refusals, then first."""

    def __init__(self, limits: Limits, base: Measurement) -> None:
        self.limits = limits
        self.base = base
        self.best = base
        self.interventions: list[Intervention] = []
        self.stopped: str | None = None
        self._improved = base
        """The last measurement that was shown to be an improvement."""
        self._rounds_without = 0

    def admit(self, number: int, now: Measurement) -> Checkpoint:
        """The weights to go on from after round `number`: those measured, or the best with the reason as their `problem`."""
        reason = self._reason(now)
        checkpoint = now.checkpoint if reason is None else self._rolled_back(number, reason)
        if reason is None and _rank(now) < _rank(self.best):
            self.best = now
        self._wait(number, now, reason is None)
        return checkpoint

    def _rolled_back(self, number: int, reason: str) -> Checkpoint:
        back = "the base model" if self.best.round < 0 else f"the weights after round {self.best.round}"
        reason = f"{reason}; back to {back}"
        self.interventions.append(Intervention(round=number, action="rollback", reason=reason, back_to=self.best.round))
        return self.best.checkpoint.model_copy(update={"problem": reason})

    def _reason(self, now: Measurement) -> str | None:
        limits = self.limits
        rails = (
            ("refused", self.base, limits.benign),
            ("losses", self.base, limits.capability),
            ("degenerate", self.base, limits.collapse),
            ("same_answer", self.base, limits.collapse),
            ("unacceptable", self.best, limits.unacceptable),
        )
        for what, before, allowed in rails:
            if allowed is not None:
                change = compare(what, before, now)
                if change.direction > 0 and change.low > allowed:
                    return _text(what, change, allowed, before)
        return None

    def _wait(self, number: int, now: Measurement, admitted: bool) -> None:
        """Count the measured rounds that were no improvement on the last one that was."""
        changes = [compare(what, self._improved, now) for what in ("unacceptable", "refused")]
        if not any(change.total for change in changes):
            return
        if admitted and any(change.direction < 0 for change in changes):
            self._improved, self._rounds_without = now, 0
            return
        self._rounds_without += 1
        patience = self.limits.patience
        if patience is not None and self._rounds_without >= patience and self.stopped is None:
            since = "the base model" if self._improved.round < 0 else f"round {self._improved.round}"
            self.stopped = (
                f"{self._rounds_without} measured rounds in a row showed no improvement on {since}, neither in unacceptable "
                "held-out answers nor in refusals of benign prompts (McNemar's test, p below 0.05)"
            )
            self.interventions.append(Intervention(round=number, action="stop", reason=self.stopped))


def _rank(measured: Measurement) -> tuple[float, float]:
    return tuple(  # type: ignore[return-value]
        sum(values.values()) / len(values) if values else 1.0
        for values in (measured.unacceptable(), measured.refused())
    )


def _text(what: str, change: Change, allowed: float, before: Measurement) -> str:
    than = "the base model" if before.round < 0 else f"round {before.round}"
    if what == "losses":
        return (
            f"the capability check got worse than {than}'s: {change.difference:+.2f} nats per token "
            f"[{change.low:+.2f}, {change.high:+.2f}], where {allowed:g} is allowed"
        )
    return (
        f"more {_PROMPTS[what]} than {than}: {100 * change.difference:+.1f} points "
        f"[{100 * change.low:+.0f}, {100 * change.high:+.0f}], p = {change.p:.2g}, where {100 * allowed:g} are allowed"
    )
