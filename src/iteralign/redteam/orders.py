"""In which order a run asks its prompts: that of the file, by chance, or seeking failures.

An order says which prompts a round asks, and which the next rounds will if none of the rounds before them fails. What it says
follows from the seed and from what was judged in earlier rounds alone, so a resumed run asks the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from iteralign import layout
from iteralign.records import Checkpoint, Draw, RedTeamPrompt, Verdict
from iteralign.redteam.chances import Chances, Weighing
from iteralign.redteam.pool import Bools, Floats, PromptPool
from iteralign.redteam.rates import weighted
from iteralign.settings.redteam import RedTeamSettings
from iteralign.stats.weighted import FewFail

Groups = list[list[RedTeamPrompt]]

_MOST_AT_ONCE = 32  # rounds
_WINDOW = 64  # rounds whose failures say how many are drawn at once


class KeepDraws(Protocol):
    """Keeps a stage of the round, or reads it back (rundir's Stages)."""

    def __call__(self, stage: str, step: Callable[[], list[Draw]]) -> list[Draw]: ...


class Order(ABC):
    """Asked at the beginning of each round, told at its end; also of rounds that are read back."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        """Of the run at most."""

    @abstractmethod
    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        """The prompts of this round, and of those after it as far as they are drawn."""

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """The round's."""
        return

    def add(self, prompts: Sequence[RedTeamPrompt]) -> None:
        """Further prompts to choose from, before a round; only an order that seeks takes any."""
        raise NotImplementedError(f"{type(self).__name__} takes no further prompts.")

    def ended(self) -> str | None:
        """Why no further round is worth its cost; None where one is."""
        return None

    def last(self, number: int) -> bool:
        """Whether this round, whose verdicts are in, is the last one."""
        return number == self.rounds - 1 or self.ended() is not None


class FileOrder(Order):
    """The prompts as they stand in the file."""

    def __init__(self, groups: Sequence[Sequence[RedTeamPrompt]]) -> None:
        super().__init__(len(groups))
        self.groups = [list(group) for group in groups]

    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        """All that are left."""
        return self.groups[number:]


class ByChance(Order):
    """Prompts that are drawn, each with a known probability: so it can be told how many of those not asked would fail."""

    def __init__(self, rounds: int, settings: RedTeamSettings) -> None:
        super().__init__(rounds)
        self.few_fail = None if settings.stop is None else FewFail(settings.stop, settings.confidence)
        self._drawn = list[list[Draw]]()
        """Of this round and the next ones; empty where they must be drawn."""
        self._weights: Checkpoint | None = None
        self._passed = False

    @abstractmethod
    def draw(self, number: int) -> list[list[Draw]]:
        """The draws of this round, and of as many after it as can be made now."""

    def coming(self, number: int, weights: Checkpoint, keep: KeepDraws) -> Groups:
        """This round's, and those that were drawn with it."""
        if self._weights is not None and weights != self._weights:
            self.trained()
        self._weights = weights
        if not self._drawn:
            self._drawn = self.draw(number)
        kept = keep(layout.DRAWS, lambda: self._drawn[0])
        if kept != self._drawn[0]:  # another machine's sums, in the last place
            self._drawn = [kept]
        return [[draw.prompt for draw in draws] for draws in self._drawn]

    def trained(self) -> None:
        """Other weights answer from now on."""
        if self.few_fail is not None:
            self.few_fail.restart()

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """What the draws of the round came to; to be sure, what nobody could judge is taken for a failure."""
        self._passed = all(verdict.label != "unacceptable" for verdict in verdicts)
        if self.few_fail is not None:
            for draw, verdict in zip(self._drawn[0], verdicts, strict=True):
                self.few_fail.drawn(weighted(draw, verdict.label != "acceptable"))
        self._drawn = self._drawn[1:]

    def ended(self) -> str | None:
        """Never after a round that failed: other weights may follow it, of which nothing is known."""
        few = self.few_fail
        if few is None or not self._passed or not few.sure:
            return None
        return (
            f"fewer than {100 * few.bound:g} of 100 prompts not asked yet would fail ({100 * few.confidence:g}%; "
            "redteam.stop)"
        )


class Shuffled(ByChance):
    """Each prompt as likely as any other that was not asked yet."""

    def __init__(
        self, prompts: Sequence[RedTeamPrompt], size: int, rounds: int, settings: RedTeamSettings, seed: int
    ) -> None:
        super().__init__(rounds, settings)
        order = np.random.default_rng(seed).permutation(len(prompts))
        draws = [
            Draw(prompt=prompts[place], probability=1 / left, least=1 / left, unasked=left)
            for place, left in zip(order, range(len(prompts), 0, -1), strict=True)
        ]
        self._all = [draws[size * number : size * (number + 1)] for number in range(rounds)]

    def draw(self, number: int) -> list[list[Draw]]:
        """All that are left."""
        return self._all[number:]


class Seeking(ByChance):
    """Prompts that are likely to fail rather than others, but now and then any.

    A share of the draws (`explore`) takes each unasked prompt with the same probability, the rest by the chance to fail. So the
    probability of each draw is known and none is 0. Where few rounds fail several are drawn at once, so that they can be
    answered before their turn; after a failure what is left of them is drawn anew.
    """

    def __init__(
        self,
        prompts: Sequence[RedTeamPrompt],
        size: int,
        rounds: int,
        settings: RedTeamSettings,
        seed: int,
        how: Weighing,
    ) -> None:
        super().__init__(rounds, settings)
        self.size = size
        self.seed = seed
        self.explore = settings.explore
        self.how = how
        self._past = list[tuple[int, bool] | None]()
        """(place, whether it failed) of what was judged; None for a training."""
        self._begin(prompts)
        self._unasked = np.ones(len(prompts), dtype=bool)
        self._failed = list[bool]()
        """Of the rounds so far."""

    def trained(self) -> None:
        """What was judged before counts less from now on."""
        super().trained()
        self._learn(None)

    def add(self, prompts: Sequence[RedTeamPrompt]) -> None:
        """Prompts written after a round that failed. Words weigh otherwise with them, so all is estimated anew."""
        if prompts:
            past, self._past = self._past, []
            self._begin([*self.pool.prompts, *prompts])
            self._unasked = np.append(self._unasked, np.ones(len(prompts), dtype=bool))
            for event in past:
                self._learn(event)

    def _begin(self, prompts: Sequence[RedTeamPrompt]) -> None:
        self.pool = PromptPool(prompts)
        self.chances = Chances(self.pool, self.how)

    def _learn(self, event: tuple[int, bool] | None) -> None:
        self._past.append(event)
        if event is None:
            self.chances.trained()
        else:
            self.chances.judged(*event)

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """A failure makes the prompts like it likelier to be drawn; an answer that nobody could judge says nothing."""
        super().judged(verdicts)
        for verdict in verdicts:
            place = self.pool.place[verdict.response.prompt.id]
            self._unasked[place] = False
            if verdict.label != "undetermined":
                self._learn((place, verdict.label == "unacceptable"))
        self._failed.append(any(verdict.label == "unacceptable" for verdict in verdicts))
        if self._failed[-1]:
            self._drawn = []

    def draw(self, number: int) -> list[list[Draw]]:
        """Of this round and as many after it as are likely to pass."""
        random = np.random.default_rng((self.seed, number))
        likely = np.round(self.chances.estimates(), 6)  # so that the last place of a sum decides no draw
        unasked = self._unasked.copy()
        sought = np.where(unasked, likely**self.how.sharpness, 0.0)
        rounds = min(self._at_once(), self.rounds - number)
        return [self._group(likely, sought, unasked, random) for _ in range(rounds)]

    def _at_once(self) -> int:
        """Rounds that are drawn together, a power of two: so many that one of them may well fail."""
        lately = self._failed[-_WINDOW:]
        rate = (sum(lately) + 0.5) / (len(lately) + 1)
        return min(_MOST_AT_ONCE, 1 << int(np.log2(1 / rate)))

    def _group(self, likely: Floats, sought: Floats, unasked: Bools, random: np.random.Generator) -> list[Draw]:
        """One round's, each drawn with the probability that it states. What is like one of them is `sought` less from then on,
        also in the rounds that are drawn with this one: should they be asked, then this one has passed."""
        draws, most = list[Draw](), int(unasked.sum())
        for left in range(most, max(0, most - self.size), -1):
            total = sought.sum()
            probability = unasked * (self.explore / left)
            probability += (1 - self.explore) * (sought / total if total > 0 else unasked / left)
            sums = probability.cumsum()
            least = float(probability[unasked].min())
            place = int(sums.searchsorted(random.random() * sums[-1], side="right"))
            unasked[place] = False
            sought *= 1 - self.pool.likeness(place)
            draws.append(
                Draw(
                    prompt=self.pool.prompts[place],
                    probability=float(probability[place]),
                    least=least,
                    unasked=left,
                    chance=float(likely[place]),
                )
            )
        return draws


def groups_of(prompts: Sequence[RedTeamPrompt], size: int, limit: int | None = None) -> Groups:
    """The prompts in groups of `size`, in their order, the last one smaller; at most `limit` groups."""
    return [list(prompts[start : start + size]) for start in range(0, len(prompts), size)][:limit]
