"""When a round's training is thrown away, and when a run ends early. Decisions only: they follow from the measurements, so
that a resumed run comes to the same ones. Nothing else decides which weights a run goes on from."""

from dataclasses import dataclass, replace
from typing import Literal

from iteralign.records import Checkpoint, Record
from iteralign.scoreboard.measurement import Measurement, compare
from iteralign.settings.measure import GuardRailSettings
from iteralign.stats.paired import Change
from iteralign.text.characters import Text

PROMPTS = {
    "refused": "refusals of benign prompts",
    "abstained": 'benign prompts that get no more than "I don\'t know"',
    "unacceptable": "unacceptable held-out answers",
    "degenerate": "degenerate answers (collapse)",
    "same_answer": "benign prompts that got one and the same answer (collapse)",
}
"""What a rail watches on prompts, as the reasons of thrown-away trainings name it."""


class Intervention(Record):
    """A line of RUN/guard_rails.jsonl."""

    round: int
    action: Literal["rollback", "stop"]
    reason: Text
    back_to: int | None = None
    """With `rollback`, the round whose weights are in use again; -1 for the base model's."""


@dataclass(frozen=True)
class Standing:
    """What the measurements of a run have come to so far."""

    base: Measurement
    best: Measurement
    """Fewest unacceptable held-out answers, then fewest benign refusals, then first: what a rollback goes back to."""
    in_use: Measurement
    """Of the weights that the run goes on from, unless it has trained since."""
    improved: Measurement
    """The last that was shown to be an improvement."""
    without: int = 0
    """Measured rounds since."""
    problem: str | None = None
    """Why the weights measured last were thrown away; None where they were not."""
    stopped: str | None = None
    """Why the run should end now."""
    interventions: tuple[Intervention, ...] = ()

    @classmethod
    def first(cls, base: Measurement) -> "Standing":
        """Of the base model."""
        return cls(base, base, base, base)

    @property
    def weights(self) -> Checkpoint:
        """To go on from."""
        return self.in_use.checkpoint

    @property
    def beside(self) -> list[Measurement]:
        """What a new measurement is compared with: the base model, and the weights in use before."""
        return [self.base] + ([] if self.in_use.round == -1 else [self.in_use])


def decide(rails: GuardRailSettings, before: Standing, now: Measurement) -> Standing:
    """After one more measurement: its weights are gone on from, or the best ones where a guard rail trips."""
    reason = _reason(rails, before, now)
    if reason is not None:
        return _waited(rails, _rolled_back(before, now, reason), now)
    best = now if _rank(now) < _rank(before.best) else before.best
    return _waited(rails, replace(before, best=best, in_use=now, problem=None), now)


def _rolled_back(before: Standing, now: Measurement, reason: str) -> Standing:
    best = before.best
    reason = f"{reason}; back to {'the base model' if best.round < 0 else f'the weights after round {best.round}'}"
    done = Intervention(round=now.number, action="rollback", reason=reason, back_to=best.round)
    return replace(before, in_use=best, problem=reason, interventions=(*before.interventions, done))


def _reason(rails: GuardRailSettings, before: Standing, now: Measurement) -> str | None:
    watched = (
        ("refused", before.base, rails.over_refusal),
        ("abstained", before.base, rails.over_refusal),
        ("losses", before.base, rails.capability),
        ("degenerate", before.base, rails.collapse),
        ("same_answer", before.base, rails.collapse),
        ("unacceptable", before.best, rails.unacceptable),
    )
    for what, than, allowed in watched:
        if allowed is not None:
            change = compare(what, than, now)
            if change.direction > 0 and change.low > allowed:
                return _text(what, change, allowed, than)
    return None


def _waited(rails: GuardRailSettings, after: Standing, now: Measurement) -> Standing:
    """With the measured rounds counted that were no improvement on the last one that was."""
    changes = [compare(what, after.improved, now) for what in ("unacceptable", "refused")]
    if not any(change.total for change in changes):
        return after
    if after.problem is None and any(change.direction < 0 for change in changes):
        return replace(after, improved=now, without=0)
    after = replace(after, without=after.without + 1)
    if rails.patience is None or after.without < rails.patience:
        return after
    since = "the base model" if after.improved.round < 0 else f"round {after.improved.round}"
    why = (
        f"{after.without} measured rounds in a row showed no improvement on {since}, neither in unacceptable "
        "held-out answers nor in refusals of benign prompts (McNemar's test, p below 0.05)"
    )
    done = Intervention(round=now.number, action="stop", reason=why)
    return replace(after, stopped=why, interventions=(*after.interventions, done))


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
        f"more {PROMPTS[what]} than {than}: {100 * change.difference:+.1f} points "
        f"[{100 * change.low:+.0f}, {100 * change.high:+.0f}], p = {change.p:.2g}, where {100 * allowed:g} are allowed"
    )
