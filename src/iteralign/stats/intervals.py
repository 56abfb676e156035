"""Intervals: Wilson for proportions, bootstrap for the rest."""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from iteralign.records import Paired

T = TypeVar("T")


@dataclass(frozen=True)
class Proportion:
    """`count` of `total`, with the Wilson score interval at 95%."""

    count: int
    total: int

    @property
    def rate(self) -> float:
        """NaN for an empty set."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson (1927), z = 1.96; (0, 1) for an empty set."""
        if not self.total:
            return 0.0, 1.0
        z, n, p = 1.959964, self.total, self.rate
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))

    def __str__(self) -> str:
        if not self.total:
            return "-"
        low, high = self.interval
        rate = f"{100 * self.rate:.0f}%" if self.rate in (0, 1) else f"{100 * self.rate:.1f}%"
        return f"{rate} [{100 * low:.0f}, {100 * high:.0f}]"


@dataclass(frozen=True)
class Mean:
    """A mean with its 95% percentile bootstrap interval."""

    value: float
    interval: tuple[float, float]
    total: int


def bootstrap(
    items: Sequence[T], statistic: Callable[[Sequence[T]], float], *, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% percentile bootstrap interval of a statistic of independent items; resamples where it is NaN are left out."""
    if not items:
        return math.nan, math.nan
    draw = random.Random(seed)
    values = [statistic([items[draw.randrange(len(items))] for _ in items]) for _ in range(samples)]
    found = sorted(value for value in values if not math.isnan(value))
    if not found:
        return math.nan, math.nan
    return found[int(0.025 * (len(found) - 1))], found[math.ceil(0.975 * (len(found) - 1))]


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> Mean:
    """The mean of the values with its bootstrap interval; NaN for none."""
    if not values:
        return Mean(math.nan, (math.nan, math.nan), 0)
    return Mean(math.fsum(values) / len(values), bootstrap(values, statistics.fmean, seed=seed), len(values))


@dataclass(frozen=True)
class Difference:
    """A difference of two proportions over the same prompts, with its interval at 95%."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        return f"{100 * self.value:+.0f}% [{100 * self.low:+.0f}, {100 * self.high:+.0f}]"


def paired_difference(paired: Paired) -> Difference:
    """With minus without; NaN in (-1, 1) for no prompts."""
    low, high = bonett_price(paired.gained, paired.lost, paired.total)
    value = (paired.gained - paired.lost) / paired.total if paired.total else math.nan
    return Difference(value, low, high)


def bonett_price(gained: int, lost: int, total: int) -> tuple[float, float]:
    """95% interval of a paired difference of proportions: the adjusted Wald interval of Bonett and Price (2012).

    It keeps its width where all pairs agree, and is (-1, 1) for no pairs.
    """
    if not total:
        return -1.0, 1.0
    up, down = (gained + 1) / (total + 2), (lost + 1) / (total + 2)
    half = 1.959964 * math.sqrt((up + down - (up - down) ** 2) / (total + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)
