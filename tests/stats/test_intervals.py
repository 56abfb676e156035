"""Intervals: against published values and against how often they hold."""

import math
import random

from iteralign.stats.intervals import Proportion, bootstrap, bootstrap_mean


def test_wilson_as_published() -> None:
    """Newcombe (1998), table I: 81 of 263 and 0 of 20."""
    low, high = Proportion(81, 263).interval
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = Proportion(0, 20).interval
    assert (low, round(high, 4)) == (0.0, 0.1611)


def test_the_bootstrap_of_a_mean_is_near_its_normal_interval() -> None:
    draw = random.Random(1)
    values = [draw.gauss(5, 2) for _ in range(400)]
    mean = bootstrap_mean(values)
    half = 1.96 * 2 / math.sqrt(400)
    assert abs(mean.interval[0] - (mean.value - half)) < 0.05 and abs(mean.interval[1] - (mean.value + half)) < 0.05
    assert mean == bootstrap_mean(values)


def test_nothing_gives_no_number() -> None:
    assert math.isnan(bootstrap_mean([]).value) and all(map(math.isnan, bootstrap([], len)))
    assert all(map(math.isnan, bootstrap([1.0], lambda sample: math.nan)))
