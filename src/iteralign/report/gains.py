"""What a run gained: measurements before and after, how large each change is, whether it may be chance, in a sentence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iteralign.constitution.ledger import in_force
from iteralign.oracles.budget import Total
from iteralign.records import Principle
from iteralign.report.chart import Bar
from iteralign.report.tables import duration
from iteralign.scoreboard.metrics import Comparison, Count, Perplexity, RoundMetrics, final
from iteralign.stats.intervals import Difference, Proportion
from iteralign.stats.paired import Change

SIZES = ((0.01, "negligible"), (0.05, "small"), (0.2, "moderate"), (math.inf, "large"))
"""How large a change is called that is smaller than this: of a share, or of the perplexity as a share of what it was."""


@dataclass(frozen=True)
class Headline:
    """One measurement before and after, in words."""

    name: str
    before: str
    after: str
    change: str
    """The difference with its interval and test."""
    size: str
    """How large the change is: `large improvement`."""
    certainty: str
    """Whether it may be chance, which says nothing about its size; empty where nothing was compared."""
    tone: str
    """good, bad, or none: of what is neither significant nor of any size."""
    bars: tuple[Bar, Bar] | None
    """Before and after; None for what is no share."""

    @property
    def verdict(self) -> str:
        """Both in words."""
        return f"{self.size}, {self.certainty}" if self.certainty else self.size


@dataclass(frozen=True)
class Gain:
    """A share before and after, as a sentence tells it."""

    what: str
    before: str
    after: str
    rest: str
    """Its interval, and of how many questions."""

    def __str__(self) -> str:
        return f"{self.what} {self.before} \N{RIGHTWARDS ARROW} {self.after} {self.rest}"


@dataclass(frozen=True)
class Gained:
    """The sentence that a run comes down to."""

    gains: list[Gain]
    rest: list[str]
    """Principles, cost, time."""

    def __str__(self) -> str:
        return "; ".join([*map(str, self.gains), *self.rest]) + "."


def gained(
    rows: Sequence[RoundMetrics], principles: Iterable[Principle], calls: Mapping[str, Total], seconds: float
) -> Gained:
    """Of a run's rows, from the base model's on."""
    adopted = len(in_force(principles))
    told = [f"{adopted} principle{'' if adopted == 1 else 's'} adopted", cost_of(calls.values())]
    return Gained(gains(rows[0], final(rows)), [*told, duration(seconds)] if seconds else told)


def gains(base: RoundMetrics, last: RoundMetrics) -> list[Gain]:
    """What was measured both times, as shares."""
    pairs = (
        ("Unacceptable answers", base.held_out, last.held_out, "held-out questions"),
        ("harmless questions refused", base.benign_refusals, last.benign_refusals, ""),
    )
    return [
        Gain(what, percent(before), percent(after), f"{_interval(after)} on {after.total:,} {of}".rstrip())
        for what, before, after, of in pairs
        if before is not None and after is not None and after.total
    ]


def cost_of(totals: Iterable[Total]) -> str:
    """`$0.12`, and what it leaves out."""
    totals = list(totals)
    known, unpriced = math.fsum(one.known_cost for one in totals), sum(one.unpriced for one in totals)
    if not unpriced:
        return f"${known:,.2f}" if known >= 0.005 or not known else f"${known:.4f}"
    return (
        f"${known:,.2f} and {unpriced:,} calls at unknown prices" if known else f"{unpriced:,} calls at unknown prices"
    )


def headlines(base: RoundMetrics, last: RoundMetrics) -> list[Headline]:
    """What was measured, before and after."""
    against_base: dict[str, Comparison] = {item.what: item for item in last.comparisons if item.against == -1}
    lines = []
    for key, name in (("held_out", "Unacceptable answers"), ("benign_refusals", "Benign prompts refused")):
        before, after = getattr(base, key), getattr(last, key)
        if before is not None:
            bars = (share_bar(before), share_bar(after or before))
            lines.append(_headline(name, rate(before), rate(after), against_base.get(key), bars))
    if base.capability is not None and last.capability is not None:
        was, now = _perplexity(base.capability), _perplexity(last.capability)
        lines.append(_headline("Capability check: perplexity", was, now, against_base.get("capability"), None))
    return lines


def _headline(name: str, before: str, after: str, change: Comparison | None, bars: tuple[Bar, Bar] | None) -> Headline:
    if change is None:
        return Headline(name, before, after, "", "no trained weights in use", "", "none", bars)
    size, heavy = size_of(change), significance(change)
    tone = "none" if size == SIZES[0][1] or not change.direction else "bad" if change.direction > 0 else "good"
    if change.difference:
        size += " worsening" if change.difference > 0 else " improvement"
    return Headline(name, before, after, numbers(change), size if change.difference else "no change", heavy, tone, bars)


def size_of(change: Comparison | Change) -> str:
    """How large, by SIZES, whether or not it may be chance."""
    share = abs(change.difference) if change.p is not None else abs(math.expm1(change.difference))
    return next(word for bound, word in SIZES if share < bound)


def significance(change: Comparison | Change) -> str:
    """Whether it may be chance."""
    if not change.difference:
        return ""
    return "significant" if change.direction else "may be chance"


def difference_in_words(change: Change) -> str:
    """Of a run from another: `more: large difference, significant`."""
    if not change.difference:
        return "no difference"
    return f"{'more' if change.difference > 0 else 'fewer'}: {size_of(change)} difference, {significance(change)}"


def numbers(change: Comparison | Change) -> str:
    """The difference with its interval and its test."""
    if change.p is None:
        return f"{change.difference:+.3f} nats per token [{change.low:+.3f}, {change.high:+.3f}]"
    chance = f"p = {change.p:.2g}" if change.p >= 0.001 else "p < 0.001"
    points = f"{100 * change.difference:+.1f} points [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"
    return f"{points}, McNemar {chance}"


def in_points(change: Difference) -> str:
    """A difference of shares: `+62 points [+30, +80]`."""
    return f"{100 * change.value:+.0f} points [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"


def rate(count: Count | None) -> str:
    """With its Wilson interval; - where nothing was measured."""
    return "-" if count is None else str(Proportion(count.count, count.total))


def percent(count: Count) -> str:
    """Without it."""
    return str(Proportion(count.count, count.total)).partition(" ")[0]


def share_bar(count: Count) -> Bar:
    """The share as it is drawn."""
    share = Proportion(count.count, count.total)
    return Bar(share.rate if count.total else 0.0, *share.interval)


def _interval(count: Count) -> str:
    _, bracket, rest = str(Proportion(count.count, count.total)).partition("[")
    return bracket + rest


def _perplexity(one: Perplexity) -> str:
    return f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]"
