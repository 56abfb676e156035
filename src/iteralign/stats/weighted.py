"""How often the prompts of a pool fail, from draws that were not equally likely, and when it is sure that few do.

A draw with probability q among u prompts counts 1 / (q u) times, so that the mean over draws is without bias whatever the
draws went by (Horvitz and Thompson, 1952). What is estimated is the share of the prompts not asked yet that would have failed
at the time of each draw, by the weights of that time, as a mean over the draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z = 1.959964
_BOLD = 0.75
"""Stake of the test, as a share of what would lose all at one failure. 0.75 grows fastest where a quarter of the bound fail."""


@dataclass(frozen=True)
class WeightedDraw:
    """What came of a draw."""

    failed: bool
    weight: float
    """1 / (probability times the number of prompts that it was drawn from)."""
    most: float
    """The largest weight that the draw could have had."""


@dataclass(frozen=True)
class WeightedRate:
    """An estimated share with its interval at 95%."""

    value: float
    low: float
    high: float
    draws: int

    def __str__(self) -> str:
        if not self.draws:
            return "-"
        return f"{100 * self.value:.1f}% [{100 * self.low:.0f}, {100 * self.high:.0f}]"


def weighted_rate(draws: Sequence[WeightedDraw], total: float | None = None) -> WeightedRate:
    """The mean of the draws; with `total`, their sum is divided by that instead, as for a part of the pool.

    The interval is Fay and Feuer's (1997), for weighted sums of rare counts; it is (0, 1) for no draws.
    """
    if not draws:
        return WeightedRate(math.nan, 0.0, 1.0, 0)
    size = len(draws) if total is None else total
    found = [draw.weight / size for draw in draws if draw.failed]
    most = max(draw.most for draw in draws) / size
    value, variance = math.fsum(found), math.fsum(weight * weight for weight in found)
    low = variance / (2 * value) * _chi_square(2 * value * value / variance, -_Z) if found else 0.0
    above, variance = value + most, variance + most * most
    high = variance / (2 * above) * _chi_square(2 * above * above / variance, _Z)
    return WeightedRate(min(1.0, value), min(1.0, low), min(1.0, high), len(draws))


def _chi_square(degrees: float, z: float) -> float:
    """The quantile that z is of a normal distribution, by Wilson and Hilferty's (1931) cube."""
    part = 2 / (9 * degrees)
    return degrees * float(max(0.0, 1 - part + z * math.sqrt(part))) ** 3


class FewFail:
    """A test by betting (Waudby-Smith and Ramdas, 2024) that may be looked at after each draw.

    Somebody bets at each draw that fewer than `bound` of the prompts not asked fail. While that is not so, no way to bet makes
    the wealth ever reach 1 / (1 - confidence) with a probability above 1 - confidence (Ville). A training begins a new bet;
    what may be wrong is spent on all bets of a run: the k-th has a share of 1 / (k (k + 1)).
    """

    def __init__(self, bound: float, confidence: float) -> None:
        self.bound = bound
        self.confidence = confidence
        self._bets = 0
        self.restart()

    def restart(self) -> None:
        """Other weights answer from now on."""
        self._wealth = 1.0
        self._bets += 1

    def drawn(self, draw: WeightedDraw) -> None:
        """What is staked is chosen by what was known before the draw."""
        stake = _BOLD / max(draw.most - self.bound, self.bound)
        self._wealth *= 1 + stake * (self.bound - (draw.weight if draw.failed else 0.0))

    @property
    def sure(self) -> bool:
        """Whether fewer than `bound` fail, with this confidence."""
        return self._wealth * (1 - self.confidence) >= self._bets * (self._bets + 1)
