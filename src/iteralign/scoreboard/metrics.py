"""What a round is reported by: the numbers of metrics.json and of the table at the end."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from iteralign.records import Record, Revision, Verdict
from iteralign.text.characters import Text

_MORE = 0.1


class Count(Record):
    """`count` of `total`."""

    count: int
    total: int


class Tokens(Record):
    """What the target read and wrote in a round, held-out measurement apart."""

    read: int = 0
    written: int = 0
    trained: int = 0


class Perplexity(Record):
    """Of the texts of the capability check, with its 95% bootstrap interval; each text weighs the same."""

    value: float
    low: float
    high: float
    texts: int


class Comparison(Record):
    """A measurement beside an earlier one, on the same prompts or texts: later minus earlier, with a 95% interval."""

    what: Literal["held_out", "benign_refusals", "benign_abstentions", "capability", "same_opening"]
    against: int
    """The round whose weights it is compared with; -1 for the base model."""
    total: int
    """Prompts or texts measured both times."""
    difference: float
    """Of the shares; for capability, of the mean losses (nats)."""
    low: float
    high: float
    more: int = 0
    """Prompts that it became true of (unacceptable, refused)."""
    fewer: int = 0
    p: float | None = None
    """McNemar's exact test, two-sided; None for capability, where the interval decides."""
    direction: Literal[-1, 0, 1]
    """1 or -1 where a rise or fall is shown; a rise is for the worse in all."""


class RoundMetrics(Record):
    """One round, or the base model before the first (round -1)."""

    round: int
    prompts: int = 0
    failures: int = 0
    undetermined: int = 0
    too_long: int = 0
    """Of the undetermined, prompts that do not fit the context with their answer."""
    collected: int = 0
    """Failures trained from, those of earlier rounds without training included."""
    collecting: bool = False
    """Whether they wait for more, since they are fewer than `rounds.min_failures`."""
    proposed: int = 0
    """Principles that might have been adopted in the round."""
    not_adopted: dict[Text, int] = Field(default_factory=dict)
    """Why those were not that were not, and how many."""
    principles: int = 0
    revised: int = 0
    """Failures answered again."""
    verified: int = 0
    """Of them, those whose revision passed the second judgement."""
    not_mended: dict[Text, int] = Field(default_factory=dict)
    """Why no revision of the others passed, by the last try, and how many."""
    examples: int = 0
    trained: bool = False
    loss: float | None = None
    problem: Text | None = None
    """Why the round's training was thrown away (it diverged, or a guard rail tripped); None where it was not."""
    held_out: Count | None = None
    """Unacceptable answers among the judged held-out ones; None where nothing was measured."""
    held_out_undetermined: int = 0
    benign_refusals: Count | None = None
    """Refusals among held-out benign prompts."""
    benign_abstentions: Count | None = None
    """Answers among those that say no more than that the model does not know."""
    capability: Perplexity | None = None
    degenerate: Count | None = None
    """Degenerate answers among all that were measured."""
    same_answer: Count | None = None
    """Held-out benign prompts that got the commonest answer."""
    same_opening: Count | None = None
    """Held-out red-team prompts whose answers open alike without declining."""
    comparisons: tuple[Comparison, ...] = ()
    """With the base model, and with the measured weights in use before."""
    measured: int | None = None
    """The round whose weights these numbers are of, also where they were then thrown away; None: nothing was measured."""
    weights: int = -1
    """The round whose weights are in use after this one; -1 for the base model's."""
    stopped: Text | None = None
    """Why the run ended here, before its prompts did."""
    tokens: Tokens = Tokens()

    @property
    def opens_alike(self) -> bool:
        """Whether surely a tenth more of the held-out answers than of the base model's open alike and don't decline."""
        return self._surely_more("same_opening")

    @property
    def knows_less(self) -> bool:
        """Likewise of harmless questions that get no more than "I don't know"."""
        return self._surely_more("benign_abstentions")

    @property
    def cautions(self) -> list[str]:
        """What the rates don't show and the answers do."""
        same, unknown = self.same_opening, self.benign_abstentions
        found = []
        if same is not None and self.opens_alike:
            found.append(f"{same.count} of {same.total} held-out answers open alike and don't decline")
        if unknown is not None and self.knows_less:
            found.append(f'{unknown.count} of {unknown.total} harmless questions get no more than "I don\'t know"')
        return found

    def _surely_more(self, what: str) -> bool:
        return any(one.what == what and one.against == -1 and one.low > _MORE for one in self.comparisons)


def spent_tokens(verdicts: Sequence[Verdict], revisions: Sequence[Revision], trained: int) -> Tokens:
    """Tokens of a round's answers, revisions (all tries) and training rows."""
    responses = [verdict.response for verdict in verdicts] + [revision.response for revision in revisions]
    return Tokens(
        read=sum(response.prompt_tokens for response in responses),
        written=sum(response.tokens for response in responses),
        trained=trained,
    )


def final(metrics: Sequence[RoundMetrics]) -> RoundMetrics:
    """The row that measured the weights in use at the end; the first row where none did."""
    at_end = [row for row in metrics if row.measured == metrics[-1].weights]
    return at_end[-1] if at_end else metrics[0]
