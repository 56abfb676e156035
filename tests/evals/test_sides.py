"""Pairwise comparison: both orders, ties counted, a judge that likes a place found out."""

import math
from collections.abc import Sequence

from iteralign.evals.pairwise import compare_both_orders
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle
from iteralign.records import Label, Preference, RedTeamPrompt, Response
from iteralign.stats.intervals import Proportion


def answers(*texts: str) -> list[Response]:
    return [
        Response(
            prompt=RedTeamPrompt(id=str(number), question="?"),
            input="?",
            text=text,
            finish="stop",
            prompt_tokens=0,
            tokens=0,
        )
        for number, text in enumerate(texts)
    ]


class Longer(FakeOracle):
    """Prefers the longer answer; `place` decides between equally long ones."""

    def __init__(self, place: Preference = "tie") -> None:
        super().__init__()
        self.place: Preference = place
        self.asked = 0

    def compare(self, pairs: Sequence[tuple[Response, Response]]) -> list[Preference]:
        self.asked += len(pairs)
        return [self._one(len(first.text), len(second.text)) for first, second in pairs]

    def _one(self, first: int, second: int) -> Preference:
        return self.place if first == second else "first" if first > second else "second"


def test_wins_losses_and_ties() -> None:
    judge = Longer()
    tally = compare_both_orders(judge, answers("aa", "b", "same", "cc"), answers("a", "bb", "same", "dd"))
    assert (tally.wins, tally.losses, tally.ties, tally.undetermined) == (1, 1, 2, 0)
    assert tally.win_rate.value == 0.5 and judge.asked == 6  # equal answers are not asked about


def test_a_judge_that_goes_by_the_place_gives_ties() -> None:
    for place in ("first", "second"):
        tally = compare_both_orders(Longer(place), answers("ab", "cd", "eee"), answers("ba", "dc", "f"))
        assert (tally.wins, tally.ties, tally.swayed) == (1, 2, 2)
        assert tally.first_place == (2 if place == "first" else 0) and tally.position_bias == Proportion(2, 3)


def test_one_unreadable_order_makes_a_pair_undetermined() -> None:
    tally = compare_both_orders(Longer("undetermined"), answers("ab"), answers("ba"))
    assert (tally.undetermined, tally.total) == (1, 0) and math.isnan(tally.win_rate.value)


def test_verdicts_as_preferences() -> None:
    good, bad = answers(DECLINES)[0], answers(COMPLIES)[0]
    assert FakeOracle().compare([(good, bad), (bad, good), (good, good)]) == ["first", "second", "tie"]

    def unsure(response: Response) -> Label:
        return "undetermined"

    assert FakeOracle(unsure).compare([(good, bad)]) == ["undetermined"]
