"""Answers of two models side by side: each pair judged in both orders, ties counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from iteralign.interfaces import Judge
from iteralign.records import Response
from iteralign.stats.intervals import Mean, Proportion, bootstrap_mean


@dataclass(frozen=True)
class Tally:
    """What came of comparing a model's answers with another's."""

    wins: int
    losses: int
    ties: int
    """Judged a tie in an order, or won by each side once: the position decided, not the answer."""
    undetermined: int
    swayed: int
    """Of the ties: won by whichever answer stood in the same place in both orders."""
    first_place: int
    """Of those: by the one in the first place."""

    @property
    def total(self) -> int:
        """Pairs with a result."""
        return self.wins + self.losses + self.ties

    @property
    def win_rate(self) -> Mean:
        """Wins and half of the ties, as a share of the pairs with a result; one half where the models are equal."""
        return bootstrap_mean([1.0] * self.wins + [0.5] * self.ties + [0.0] * self.losses)

    @property
    def position_bias(self) -> Proportion:
        """Pairs whose result the order turned round."""
        return Proportion(self.swayed, self.total)


def compare_both_orders(judge: Judge, ours: Sequence[Response], theirs: Sequence[Response]) -> Tally:
    """Tally of `ours` against `theirs`, answers to the same prompts in the same order.

    Two equal answers are a tie, and nobody is asked about them.
    """
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.text != other.text]
    forward = judge.compare(pairs)
    backward = judge.compare([(other, one) for one, other in pairs])
    results = list(zip(forward, backward, strict=True))
    undetermined = sum("undetermined" in both for both in results)
    wins, losses = results.count(("first", "second")), results.count(("second", "first"))
    first, second = results.count(("first", "first")), results.count(("second", "second"))
    return Tally(
        wins=wins,
        losses=losses,
        ties=len(ours) - wins - losses - undetermined,
        undetermined=undetermined,
        swayed=first + second,
        first_place=first,
    )
