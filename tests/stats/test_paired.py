"""Paired comparisons against values worked out by hand or known from the literature."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iteralign.stats.paired import change_of_means, change_of_shares, mcnemar, mean_interval


@pytest.mark.parametrize(
    ("more", "fewer", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (1, 9, 22 / 1024),
        (5, 5, 1.0),
        (10, 20, 0.09873714670538902),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(more: int, fewer: int, p: float) -> None:
    assert mcnemar(more, fewer) == pytest.approx(p, rel=1e-9)
    assert mcnemar(fewer, more) == mcnemar(more, fewer)


def test_mcnemar_of_many_pairs_is_a_number() -> None:
    assert 0 < mcnemar(20_000, 20_500) < 1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_change_of_shares_is_the_difference_of_the_rates_within_its_interval(pairs: list[tuple[bool, bool]]) -> None:
    before = {str(index): pair[0] for index, pair in enumerate(pairs)}
    after = {str(index): pair[1] for index, pair in enumerate(pairs)}
    change = change_of_shares(before, after)
    assert change.difference == pytest.approx((sum(after.values()) - sum(before.values())) / len(pairs))
    assert -1 <= change.low < change.high <= 1
    back = change_of_shares(after, before)
    assert (back.low, back.high) == pytest.approx((-change.high, -change.low)) and back.p == change.p


def test_the_interval_of_bonett_and_price() -> None:
    """12 and 2 changed of 50: ((13 - 3) / 52) -+ 1.96 sqrt((16/52 - (10/52)^2) / 52)."""
    ids = [str(number) for number in range(50)]
    before = {key: index < 22 for index, key in enumerate(ids)}  # 20 stay true, 2 become false
    after = {key: index < 20 or 22 <= index < 34 for index, key in enumerate(ids)}
    change = change_of_shares(before, after)
    half = 1.959964 * math.sqrt((16 / 52 - (10 / 52) ** 2) / 52)
    assert (change.more, change.fewer, change.difference) == (12, 2, 0.2)
    assert (change.low, change.high) == pytest.approx((10 / 52 - half, 10 / 52 + half))
    assert change.direction == 1


def test_where_nothing_changed_the_interval_still_has_a_width() -> None:
    same = dict.fromkeys("abcdefgh", False)
    change = change_of_shares(same, same)
    assert change.direction == 0 and change.low < 0 < change.high


def test_prompts_measured_once_are_left_out() -> None:
    change = change_of_shares({"a": True, "b": True}, {"b": False, "c": True})
    assert (change.total, change.fewer, change.more) == (1, 1, 0)
    assert change_of_shares({}, {"a": True}).direction == 0


def test_a_change_of_means_is_shown_only_by_an_interval_without_zero() -> None:
    before = {str(number): float(number) for number in range(40)}
    shifted = change_of_means(before, {key: value + 0.5 + 0.01 * (value % 3) for key, value in before.items()})
    assert shifted.direction == 1 and shifted.low <= shifted.difference <= shifted.high and shifted.p is None
    noise = change_of_means(before, {key: value + (-1) ** int(value) for key, value in before.items()})
    assert noise.direction == 0 and noise.low < 0 < noise.high
    assert change_of_means({}, {}).direction == 0


@pytest.mark.parametrize("size", [1, 7, 3000])
def test_the_bootstrap_draws_many_means_at_once_as_it_would_one_by_one(size: int) -> None:
    """Of 3,000 values six means are made at once, and two at last."""
    values = np.random.default_rng(1).normal(size=size)
    draw = np.random.default_rng(0)
    means = [values[draw.integers(size, size=size)].mean() for _ in range(2000)]
    low, high = np.quantile(means, (0.025, 0.975))
    assert mean_interval(values.tolist()) == (low, high)
