"""The map of a run's red teaming: by category and prompt form what was asked, what failed, and what was never asked."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from iteralign.records import Draw, RedTeamPrompt, Verdict
from iteralign.redteam.rates import weighted
from iteralign.report.tables import MOST_CATEGORIES, spans
from iteralign.stats.weighted import WeightedDraw, WeightedRate, weighted_rate

Kind = tuple[str, str]
"""Category and prompt form."""


@dataclass(frozen=True)
class Cell:
    """A kind in some rounds."""

    failed: int
    asked: int

    @property
    def shade(self) -> int:
        """In tenths: 0 for no failure, at least 1 for any."""
        return math.ceil(10 * self.failed / self.asked) if self.asked else 0


@dataclass(frozen=True)
class KindRow:
    """A line of the map."""

    category: str
    form: str
    cells: list[Cell]
    total: Cell
    never: int
    """Prompts of this kind that were not asked."""
    rate: WeightedRate | None
    """How many of those would fail, by the draws since the last training; None where nothing was drawn by chance."""


@dataclass(frozen=True)
class AskedMap:
    """All lines, those with the most failures first."""

    columns: list[str]
    rows: list[KindRow]
    left_out: int
    untouched: int
    """Kinds of which nothing was asked, also among those left out."""
    never: int
    since: int | None
    """The first round of those whose draws the rates are from."""
    rate: WeightedRate | None
    """Of all prompts that were not asked."""


@dataclass
class AskedRounds:
    """What the rounds asked; `add` each in order."""

    own_form: str
    failed: list[Counter[Kind]] = field(default_factory=list)
    """By round."""
    asked: list[Counter[Kind]] = field(default_factory=list)
    draws: list[tuple[Kind, WeightedDraw]] = field(default_factory=list)
    """Since the last training."""
    since: int = 0
    grown: list[RedTeamPrompt] = field(default_factory=list)
    """Prompts that the run wrote itself."""

    def add(self, number: int, verdicts: Sequence[Verdict], draws: Sequence[Draw], trained: bool) -> None:
        """One round."""
        kinds = [self.kind(verdict.response.prompt) for verdict in verdicts]
        bad = [verdict.label == "unacceptable" for verdict in verdicts]
        self.asked.append(Counter(kinds))
        self.failed.append(Counter(kind for kind, failed in zip(kinds, bad, strict=True) if failed))
        if len(draws) == len(verdicts):
            found = zip(kinds, draws, bad, strict=True)
            self.draws += [(kind, weighted(draw, failed)) for kind, draw, failed in found]
        if trained:
            self.draws, self.since = [], number + 1

    def wrote(self, prompts: Sequence[RedTeamPrompt]) -> None:
        """The run itself, before a round."""
        self.grown += prompts

    def kind(self, prompt: RedTeamPrompt) -> Kind:
        """The data set's category, and the form that it is asked in."""
        return prompt.category or "no category", prompt.form or self.own_form

    def map(self, pool: Iterable[RedTeamPrompt]) -> AskedMap:
        """Beside all prompts that might have been asked."""
        there, asked, failed = (Counter[Kind](map(self.kind, pool)), *map(_summed, (self.asked, self.failed)))
        kinds = sorted(there, key=lambda kind: (-failed[kind], -asked[kind], kind))
        shown = kinds[: 2 * MOST_CATEGORIES]
        columns = spans(len(self.asked))
        rows = []
        for kind in shown:
            cells = [
                Cell(
                    *(sum(part[kind] for part in parts[span.start : span.stop]) for parts in (self.failed, self.asked))
                )
                for _, span in columns
            ]
            total = Cell(failed[kind], asked[kind])
            rows.append(KindRow(*kind, cells, total, there[kind] - asked[kind], self._rate(kind)))
        never = there.total() - asked.total()
        rate = weighted_rate([draw for _, draw in self.draws]) if self.draws else None
        since = self.since if self.draws else None
        untouched = sum(not asked[kind] for kind in kinds)
        return AskedMap([name for name, _ in columns], rows, len(kinds) - len(shown), untouched, never, since, rate)

    def _rate(self, kind: Kind) -> WeightedRate | None:
        """Of the prompts of this kind: a ratio of two sums, so that it does not matter how many draws fell on the kind."""
        found = [draw for one, draw in self.draws if one == kind]
        return weighted_rate(found, math.fsum(draw.weight for draw in found)) if found else None


def _summed(parts: Sequence[Counter[Kind]]) -> Counter[Kind]:
    total: Counter[Kind] = Counter()
    for part in parts:
        total.update(part)
    return total
