"""Rates from draws that were not equally likely: without bias, covered by their interval, and a test that keeps its word."""

import random
import statistics

import pytest

from iteralign.stats.weighted import FewFail, WeightedDraw, weighted_rate


def drawn(rates: list[float], random_: random.Random, count: int) -> list[WeightedDraw]:
    """Of prompts with these chances to fail, drawn by them for four fifths and evenly for a fifth, without replacement."""
    left, found = list(rates), []
    for _ in range(count):
        chances = [0.2 / len(left) + 0.8 * rate / sum(left) for rate in left]
        place = random_.choices(range(len(left)), chances)[0]
        weight = 1 / (chances[place] * len(left))
        found.append(WeightedDraw(random_.random() < left[place], weight, 1 / (min(chances) * len(left))))
        del left[place]
    return found


def truth(rates: list[float], seed: int, count: int) -> float:
    """The share of the rest that would have failed, as a mean over the same draws."""
    random_, left, shares = random.Random(seed), list(rates), []
    for _ in range(count):
        chances = [0.2 / len(left) + 0.8 * rate / sum(left) for rate in left]
        shares.append(statistics.fmean(left))
        place = random_.choices(range(len(left)), chances)[0]
        random_.random()
        del left[place]
    return statistics.fmean(shares)


@pytest.mark.parametrize("rates", [[0.6] * 12 + [0.02] * 108, [0.3] * 120, [0.01] * 120])
def test_the_estimate_is_without_bias_and_its_interval_covers(rates: list[float]) -> None:
    errors, covered = [], []
    for seed in range(400):
        rate, true = weighted_rate(drawn(rates, random.Random(seed), 40)), truth(rates, seed, 40)
        errors.append(rate.value - true)
        covered.append(rate.low <= true <= rate.high)
    assert abs(statistics.fmean(errors)) < 3 * statistics.stdev(errors) / 400**0.5
    assert statistics.fmean(covered) >= 0.93


def test_no_draws_say_nothing_and_no_failures_do_not_say_that_there_are_none() -> None:
    assert (weighted_rate([]).low, weighted_rate([]).high, str(weighted_rate([]))) == (0.0, 1.0, "-")
    clean = weighted_rate([WeightedDraw(False, 1.0, 1.0)] * 100)
    assert clean.value == clean.low == 0 and 0.03 < clean.high < 0.04
    assert weighted_rate([WeightedDraw(False, 1.0, 5.0)] * 100).high > clean.high


@pytest.mark.parametrize(("bound", "share"), [(0.04, 0.045), (0.1, 0.12)])
def test_the_test_seldom_says_few_where_there_are_not_few(bound: float, share: float) -> None:
    """Looked at after each draw, over trainings that change nothing."""
    wrong = 0
    for seed in range(400):
        random_, test = random.Random(seed), FewFail(bound, 0.95)
        for number in range(500):
            if number % 100 == 99:
                test.restart()
            test.drawn(WeightedDraw(random_.random() < share, 1.0, 1.0))
            if test.sure:
                wrong += 1
                break
    assert wrong / 400 <= 0.05


def test_the_test_says_few_where_there_are_few() -> None:
    test, count = FewFail(0.04, 0.95), 0
    while not test.sure:
        test.drawn(WeightedDraw(False, 1.0, 1.0))
        count += 1
    assert count < 130
    test.restart()
    assert not test.sure, "what held for other weights says nothing of these"
