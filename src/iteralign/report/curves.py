"""The curves of a run: what was measured by round, with intervals, and the rounds that adopted principles."""

from collections.abc import Callable, Sequence

from iteralign.report.chart import Curve, CurveLine, Mark, Point
from iteralign.scoreboard.metrics import Count, Perplexity, RoundMetrics
from iteralign.stats.intervals import Proportion

SHARES = (("held_out", "Unacceptable held-out answers"), ("benign_refusals", "Benign prompts refused"))


def curves(runs: Sequence[tuple[str, Sequence[RoundMetrics]]]) -> list[Curve]:
    """Of one run, or of several in the same picture, each by its name and rows. What was measured only once is no curve."""
    found = [
        _curve(runs, title, "share, with its 95% Wilson interval", _shares(key), percent=True) for key, title in SHARES
    ]
    caption = "perplexity, with its 95% bootstrap interval; lower is better"
    found.append(_curve(runs, "Capability check", caption, _perplexities, percent=False))
    caption = "share of the round's prompts; each round has prompts of its own"
    found.append(_curve(runs, "Training prompts that failed", caption, _failures, percent=True))
    return [curve for curve in found if curve.lines]


def _curve(
    runs: Sequence[tuple[str, Sequence[RoundMetrics]]],
    title: str,
    caption: str,
    points_of: Callable[[Sequence[RoundMetrics]], list[Point]],
    *,
    percent: bool,
) -> Curve:
    lines = [
        CurveLine(name, points, number)
        for number, (name, rows) in enumerate(runs)
        if len(points := points_of(rows)) > 1
    ]
    marks = [mark for _, rows in runs for mark in _adopted(rows)] if len(runs) == 1 else []
    return Curve(title, caption, lines, percent, marks)


def _adopted(rows: Sequence[RoundMetrics]) -> list[Mark]:
    return [
        Mark(row.round, f"round {row.round} adopted {row.principles} principle{'s' if row.principles > 1 else ''}")
        for row in rows
        if row.principles and row.round >= 0
    ]


def _measured(rows: Sequence[RoundMetrics]) -> list[RoundMetrics]:
    return [row for row in rows if row.measured is not None or row.round < 0]


def _shares(key: str) -> Callable[[Sequence[RoundMetrics]], list[Point]]:
    return lambda rows: [
        _point(row.round, _label(row), getattr(row, key), _thrown_away(row))
        for row in _measured(rows)
        if getattr(row, key) is not None
    ]


def _perplexities(rows: Sequence[RoundMetrics]) -> list[Point]:
    return [_perplexity_point(row, row.capability) for row in _measured(rows) if row.capability is not None]


def _failures(rows: Sequence[RoundMetrics]) -> list[Point]:
    judged = [(row, Count(count=row.failures, total=row.prompts - row.undetermined)) for row in rows if row.round >= 0]
    return [_point(row.round, f"round {row.round}", count) for row, count in judged if count.total > 0]


def _point(number: int, label: str, count: Count, thrown_away: bool = False) -> Point:
    share = Proportion(count.count, count.total)
    text = f"{label}: {share} ({count.count} of {count.total})"
    return Point(number, share.rate if count.total else 0.0, *share.interval, text, thrown_away)


def _perplexity_point(row: RoundMetrics, one: Perplexity) -> Point:
    text = f"{_label(row)}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
    return Point(row.round, one.value, one.low, one.high, text, _thrown_away(row))


def _thrown_away(row: RoundMetrics) -> bool:
    return row.problem is not None and row.measured == row.round


def _label(row: RoundMetrics) -> str:
    if row.round < 0:
        return "base model"
    return f"round {row.round}" + (", thrown away" if _thrown_away(row) else "")
