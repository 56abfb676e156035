"""One measurement of some weights: the judged answers to the held-out prompts, and the capability check."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from iteralign.records import Checkpoint, TextScore, Verdict
from iteralign.scoreboard.metrics import Comparison, Count, Perplexity, RoundMetrics
from iteralign.stats.intervals import Proportion
from iteralign.stats.paired import Change, change_of_means, change_of_shares, mean_interval
from iteralign.stats.rates import refusal_rate, unacceptable_rate
from iteralign.text.abstentions import abstains
from iteralign.text.degenerate import is_degenerate
from iteralign.text.openings import open_alike
from iteralign.text.refusals import is_refusal


@dataclass(frozen=True)
class Measurement:
    """What was found of `checkpoint`; nothing, where nothing was measured. By-prompt values are keyed by prompt id."""

    checkpoint: Checkpoint
    held_out: Sequence[Verdict] = ()
    benign: Sequence[Verdict] = ()
    capability: Sequence[TextScore] = ()
    number: int = -1
    """The round after which it was made; -1 before the first."""

    @property
    def round(self) -> int:
        """The round that trained the weights; -1 for the base model."""
        return -1 if self.checkpoint.round is None else self.checkpoint.round

    def unacceptable(self) -> dict[str, bool]:
        """Of the held-out answers that could be judged."""
        judged = (verdict for verdict in self.held_out if verdict.label != "undetermined")
        return {verdict.response.prompt.id: verdict.label == "unacceptable" for verdict in judged}

    def refused(self) -> dict[str, bool]:
        """Of the benign prompts."""
        return {verdict.response.prompt.id: is_refusal(verdict.response.text) for verdict in self.benign}

    def abstained(self) -> dict[str, bool]:
        """Of the benign prompts: whether the answer says no more than that the model does not know."""
        return {verdict.response.prompt.id: abstains(verdict.response.text) for verdict in self.benign}

    def degenerate(self) -> dict[str, bool]:
        """Of all answers."""
        every = (*self.held_out, *self.benign)
        return {verdict.response.prompt.id: is_degenerate(verdict.response.text) for verdict in every}

    def same_answer(self) -> dict[str, bool]:
        """Whether a benign prompt got the commonest answer. Red-team prompts are left out: one refusal may fit them all."""
        texts = {
            verdict.response.prompt.id: " ".join(verdict.response.text.split()).casefold() for verdict in self.benign
        }
        commonest = Counter(texts.values()).most_common(1)
        return {key: text == commonest[0][0] for key, text in texts.items()}

    def same_opening(self) -> dict[str, bool]:
        """Whether a held-out answer has the commonest opening. Those that decline have none: one refusal may fit them all."""
        return open_alike({verdict.response.prompt.id: verdict.response.text for verdict in self.held_out})

    def losses(self) -> dict[str, float]:
        """Of the capability check's texts, those with a number."""
        return {score.id: score.loss for score in self.capability if math.isfinite(score.loss)}


def compare(what: str, before: Measurement, after: Measurement) -> Change:
    """`what`: a method of Measurement. Prompts and texts measured only once are left out."""
    earlier, later = getattr(before, what)(), getattr(after, what)()
    return change_of_means(earlier, later) if what == "losses" else change_of_shares(earlier, later)


def with_numbers(row: RoundMetrics, now: Measurement, earlier: Sequence[Measurement]) -> RoundMetrics:
    """The row with all that was measured, compared with each of `earlier`."""
    numbers = {
        "measured": now.round,
        "held_out": _count(unacceptable_rate(now.held_out)) if now.held_out else None,
        "held_out_undetermined": sum(verdict.label == "undetermined" for verdict in now.held_out),
        "benign_refusals": _count(refusal_rate(now.benign)) if now.benign else None,
        "benign_abstentions": _tally(now.abstained()),
        "capability": perplexity(list(now.losses().values())),
        "degenerate": _tally(now.degenerate()),
        "same_answer": _tally(now.same_answer()),
        "same_opening": _tally(now.same_opening()),
        "comparisons": tuple(comparison for before in earlier for comparison in comparisons(before, now)),
    }
    return row.model_copy(update=numbers)


def comparisons(before: Measurement, now: Measurement) -> list[Comparison]:
    """What was measured both times."""
    compared = {
        "held_out": "unacceptable",
        "benign_refusals": "refused",
        "benign_abstentions": "abstained",
        "capability": "losses",
        "same_opening": "same_opening",
    }
    made = []
    for name, what in compared.items():
        change = compare(what, before, now)
        if change.total:
            values = {key: value for key, value in vars(change).items()}
            made.append(Comparison(what=name, against=before.round, direction=change.direction, **values))  # type: ignore[arg-type]
    return made


def perplexity(losses: Sequence[float]) -> Perplexity | None:
    """None where nothing was measured."""
    if not losses:
        return None
    low, high = mean_interval(losses)
    value = math.fsum(losses) / len(losses)
    return Perplexity(value=math.exp(value), low=math.exp(low), high=math.exp(high), texts=len(losses))


def _count(proportion: Proportion) -> Count:
    return Count(count=proportion.count, total=proportion.total)


def _tally(values: dict[str, bool]) -> Count | None:
    return Count(count=sum(values.values()), total=len(values)) if values else None
