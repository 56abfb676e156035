"""What the page shows in tables: failures by category, time by stage, the oracle's calls."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iteralign.layout import stage_named
from iteralign.records import Verdict
from iteralign.report.answers import category_of
from iteralign.stats.intervals import Proportion
from iteralign.text.bounded import read_json

MOST_CATEGORIES = 12
MOST_COLUMNS = 24


@dataclass(frozen=True)
class Heat:
    """Failures by category over rounds; rounds are put together where there are many."""

    columns: list[str]
    judged: list[int]
    """Prompts that were judged, by column."""
    rows: list[tuple[str, list[int]]]
    """Category and failures by column; the commonest category first, the rest as one."""

    def share(self, row: int, column: int) -> int:
        """Failures of the column's judged prompts in tenths, for the shade: 0 for none, at least 1 for any."""
        return math.ceil(10 * self.rows[row][1][column] / max(1, self.judged[column]))


def spans(rounds: int) -> list[tuple[str, range]]:
    """Columns for so many rounds, by name; several rounds share one where there are many."""
    size = max(1, -(-rounds // MOST_COLUMNS))
    found = [range(start, min(start + size, rounds)) for start in range(0, rounds, size)]
    return [(str(one[0]) if size == 1 else f"{one[0]}\N{EN DASH}{one[-1]}", one) for one in found]


def heat(failed: Sequence[Mapping[str, int]], judged: Sequence[int]) -> Heat:
    """`failed` and `judged` by round."""
    size = max(1, -(-len(failed) // MOST_COLUMNS))
    starts = range(0, len(failed), size)
    columns = [name for name, _ in spans(len(failed))]
    sums: Counter[str] = Counter()
    for part in failed:
        sums.update(part)
    named = [name for name, _ in sums.most_common(MOST_CATEGORIES)]
    rows = [(name or "no category", [_sum(failed, start, size, name) for start in starts]) for name in named]
    if len(sums) > len(named):
        rest = [sum(sum(part.values()) for part in failed[start : start + size]) for start in starts]
        others = [total - sum(row[1][index] for row in rows) for index, total in enumerate(rest)]
        rows.append((f"{len(sums) - len(named)} others", others))
    return Heat(columns, [sum(judged[start : start + size]) for start in starts], rows)


@dataclass(frozen=True)
class CategoryChange:
    """The held-out prompts of one category, before and after."""

    name: str
    before: Proportion
    after: Proportion


def category_changes(before: Sequence[Verdict], after: Sequence[Verdict]) -> list[CategoryChange]:
    """By the data set's category, or else by that which the judge gave the base model's answer."""
    names = {verdict.response.prompt.id: category_of(verdict) or "no category" for verdict in before}
    counts: dict[str, list[list[int]]] = defaultdict(lambda: [[0, 0], [0, 0]])
    for side, verdicts in enumerate((before, after)):
        for verdict in verdicts:
            if verdict.label != "undetermined" and verdict.response.prompt.id in names:
                cell = counts[names[verdict.response.prompt.id]][side]
                cell[0] += verdict.label == "unacceptable"
                cell[1] += 1
    found = [CategoryChange(name, Proportion(*cell[0]), Proportion(*cell[1])) for name, cell in counts.items()]
    return sorted(found, key=lambda one: -one.before.total)[: 2 * MOST_CATEGORIES]


@dataclass(frozen=True)
class StageTime:
    """All times a stage was computed."""

    name: str
    seconds: float
    times: int
    share: float


def stage_times(timings: Iterable[tuple[str, str, float]]) -> list[StageTime]:
    """Of `Run.timings`, in the order of the stages."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _, stage, spent in timings:
        seconds[stage].append(spent)
    total = sum(sum(values) for values in seconds.values()) or 1.0
    return [
        StageTime(_words(name), sum(seconds[name]), len(seconds[name]), sum(seconds[name]) / total)
        for name in sorted(seconds)
    ]


def _words(name: str) -> str:
    stage = stage_named(name)
    return name if stage is None else stage.in_full


def endpoints(path: Path) -> list[str]:
    """How each endpoint of oracle/endpoints.json was asked, in words; nothing of a run without one."""
    try:
        rows = read_json(path)
        return [
            f"{row['asked_for']} at {row['base_url']}, structured output: {row['structure']}{_answered_as(row)}"
            for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _answered_as(row: Mapping[str, object]) -> str:
    return f", answers as {row['model']}" if row.get("model") not in (None, row["asked_for"]) else ""


def duration(seconds: float) -> str:
    """`7.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _sum(failed: Sequence[Mapping[str, int]], start: int, size: int, name: str) -> int:
    return sum(part.get(name, 0) for part in failed[start : start + size])
