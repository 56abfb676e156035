"""What the rest of a sample is likely to show, by what was seen of it."""

import itertools
import math
from collections.abc import Callable
from functools import lru_cache

Counts = tuple[int, ...]
"""How many of each kind."""


def chance(holds: Callable[[Counts], bool], seen: Counts, left: int) -> float:
    """How likely it is that `holds` is true of the whole sample's counts once `left` more are seen."""
    return round(math.fsum(p for whole, p in _wholes(seen, left) if holds(whole)), 9)  # what is certain is 1


@lru_cache(maxsize=4096)
def _wholes(seen: Counts, left: int) -> list[tuple[Counts, float]]:
    """What the whole sample may come to, each with its chance: Dirichlet-multinomial, with Jeffreys' prior."""
    weights = [count + 0.5 for count in seen]
    all_ways = math.lgamma(sum(weights)) + math.lgamma(left + 1) - math.lgamma(left + sum(weights))
    wholes = []
    for some in itertools.product(range(left + 1), repeat=len(seen) - 1):
        if sum(some) <= left:
            more = (*some, left - sum(some))
            ways = math.fsum(
                math.lgamma(count + weight) - math.lgamma(count + 1) - math.lgamma(weight)
                for count, weight in zip(more, weights, strict=True)
            )
            wholes.append((tuple(map(sum, zip(seen, more, strict=True))), math.exp(all_ways + ways)))
    return wholes
