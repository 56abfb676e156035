"""Intervals for proportions."""

import math
from dataclasses import dataclass


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
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.total:
            return "-"
        low, high = self.interval
        rate = f"{100 * self.rate:.0f}%" if self.rate in (0, 1) else f"{100 * self.rate:.1f}%"
        return f"{rate} [{100 * low:.0f}, {100 * high:.0f}]"
