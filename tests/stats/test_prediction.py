"""What the rest of a sample may show: exact in small cases, certain where nothing is left."""

import pytest

from iteralign.stats.prediction import chance


def test_by_hand() -> None:
    # One of one seen, one left, Jeffreys' prior: the next counts with chance 1.5 / 2.
    assert chance(lambda n: n[0] == 2, (1, 0), 1) == pytest.approx(0.75)
    # None of four seen: none of the next four is 4.5/5 * 5.5/6 * 6.5/7 * 7.5/8, and one is 4 * 0.5 * 4.5 * 5.5 * 6.5 / 1680.
    assert chance(lambda n: n[0] >= 2, (0, 4), 4) == pytest.approx(1 - 0.7181920 - 0.1915179, abs=1e-6)


def test_what_can_happen_adds_up_to_one() -> None:
    for seen in ((0, 0), (3, 1), (0, 0, 0), (2, 5, 1)):
        assert chance(lambda n: True, seen, 6) == 1
        assert chance(lambda n, seen=seen: sum(n) != sum(seen) + 6, seen, 6) == 0  # type: ignore[misc]


def test_with_nothing_left_it_is_known() -> None:
    assert chance(lambda n: n[0] >= 2, (2, 1, 0), 0) == 1
    assert chance(lambda n: n[0] > 2, (2, 1, 0), 0) == 0
