"""Two measurements on the same prompts, compared prompt by prompt."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iteralign.stats.intervals import bonett_price

_AT_ONCE = 20_000
"""Values that the bootstrap draws in one go: many for speed, few enough for the processor's cache."""


@dataclass(frozen=True)
class Change:
    """After minus before, with its 95% interval."""

    total: int
    """Prompts (or texts) that were measured both times."""
    difference: float
    """Of the shares, or of the means; NaN where nothing was measured both times."""
    low: float
    high: float
    more: int = 0
    """Prompts for which it became true."""
    fewer: int = 0
    """Prompts for which it was true and no longer is."""
    p: float | None = None
    """McNemar's exact test, two-sided; None for means."""

    @property
    def direction(self) -> int:
        """1 or -1 where the evidence shows a rise or a fall (p below 0.05; for means an interval without 0), else 0."""
        if self.p is not None:
            return (self.more > self.fewer) - (self.more < self.fewer) if self.p < 0.05 else 0
        return (self.low > 0) - (self.high < 0)


def change_of_shares(before: Mapping[str, bool], after: Mapping[str, bool]) -> Change:
    """By prompt id, with Bonett and Price's interval; prompts measured only once are left out."""
    both = [(before[key], after[key]) for key in before if key in after]
    more, fewer, n = both.count((False, True)), both.count((True, False)), len(both)
    low, high = bonett_price(more, fewer, n)
    return Change(n, (more - fewer) / n if n else math.nan, low, high, more, fewer, mcnemar(more, fewer))


def mcnemar(more: int, fewer: int) -> float:
    """Exact two-sided p: how likely so uneven a split of the changed pairs is if both directions were as likely."""
    n = more + fewer
    logs = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        for k in range(min(more, fewer) + 1)
    )
    return min(1.0, 2 * math.fsum(math.exp(log) for log in logs))


def change_of_means(before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """By text id, with a paired bootstrap interval (percentiles of 2,000 resamples, seeded)."""
    differences = [after[key] - before[key] for key in before if key in after]
    if not differences:
        return Change(0, math.nan, -math.inf, math.inf)
    low, high = _bootstrap(differences)
    return Change(len(differences), statistics.fmean(differences), low, high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% bootstrap interval of a mean."""
    return _bootstrap(values)


def _bootstrap(values: Sequence[float], samples: int = 2000) -> tuple[float, float]:
    import numpy as np

    given, draw = np.asarray(values), np.random.default_rng(0)
    size = len(given)
    at_once = max(1, _AT_ONCE // size)
    parts = (min(at_once, samples - done) for done in range(0, samples, at_once))
    means = np.concatenate([given[draw.integers(size, size=(rows, size))].mean(axis=1) for rows in parts])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
