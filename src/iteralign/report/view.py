"""The view model of a run: everything the page shows, read from the run directory and bounded in size."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import iteralign
from iteralign.files import read_log
from iteralign.integrity.verify import verify_run
from iteralign.report.answers import Pair, PairSet, benign_pairs, held_out_pairs, revision_pairs, sampled
from iteralign.report.chart import Point
from iteralign.report.files import RunFiles
from iteralign.report.limits import limits
from iteralign.report.principles import Rounds, Tree, tree
from iteralign.report.tables import (
    Calls,
    CategoryChange,
    Heat,
    StageTime,
    calls_by_step,
    category_changes,
    endpoints,
    heat,
    stage_times,
)
from iteralign.rundir import layout
from iteralign.scoreboard.ending import Ending, ending
from iteralign.scoreboard.guard_rails import Intervention
from iteralign.scoreboard.metrics import Comparison, Count, Perplexity, RoundMetrics, final
from iteralign.settings.settings import differing_keys, load_settings
from iteralign.stats.intervals import Proportion
from iteralign.text.bounded import read_text

MOST_ROWS = 200
"""Rounds in the table."""


@dataclass(frozen=True)
class Headline:
    """One measurement before and after, in words."""

    name: str
    before: str
    after: str
    change: str
    verdict: str
    tone: str
    """good, bad, or none."""


@dataclass(frozen=True)
class View:
    """The page."""

    name: str
    model: str
    judge: str
    state: str
    written: str
    version: str
    ending: Ending | None
    """None while the run goes on."""
    problems: list[str]
    """Why the run is not what was computed; empty where it is."""
    headlines: list[Headline]
    curves: list[tuple[str, str, list[Point], bool]]
    """Title, caption, points, whether they are shares."""
    rows: list[RoundMetrics]
    rows_left_out: int
    interventions: list[Intervention]
    heat: Heat
    categories: list[CategoryChange]
    tree: Tree
    pairs: list[PairSet]
    stages: list[StageTime]
    calls: list[Calls]
    endpoints: list[str]
    changed_settings: str
    settings: str
    environment: dict[str, Any]
    limits: list[str]


def view_of(run_dir: Path) -> View:
    """Read a run. Raises RunDirectoryError. A run that goes on is shown as far as it is."""
    files = RunFiles(run_dir)
    rows = files.rows()
    last = final(rows)
    base, after = files.measurement(rows[0]), files.measurement(last)
    rounds = Rounds()
    pairs = [
        sampled("training", "Training prompts", _learnt(files, rows, rounds), folded=True),
        sampled("held-out", "Held-out red-team prompts", held_out_pairs(base.held_out, after.held_out), folded=True),
        sampled("benign", "Held-out benign prompts", benign_pairs(base.benign, after.benign), folded=False),
    ]
    pairs = [*pairs[1:], pairs[0]]
    calls = calls_by_step(read_log(run_dir / layout.CALLS))
    kept = _interesting(rows)
    return View(
        name=files.name,
        model=files.settings.model.path,
        judge=files.judge,
        state=_state(files, rows),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=iteralign.__version__,
        ending=ending(rows) if files.finished else None,
        problems=verify_run(run_dir, big=False).problems,
        headlines=headlines(rows[0], last),
        curves=_curves(rows),
        rows=kept,
        rows_left_out=len(rows) - len(kept),
        interventions=files.interventions(),
        heat=heat(rounds.failed, rounds.judged),
        categories=category_changes(base.held_out, after.held_out),
        tree=tree(files.principles(), rounds),
        pairs=pairs,
        stages=stage_times(read_log(run_dir / layout.TIMINGS)),
        calls=calls,
        endpoints=endpoints(run_dir / layout.ENDPOINTS),
        changed_settings=_changed(files),
        settings=read_text(run_dir / layout.CONFIG),
        environment=files.environment(),
        limits=limits(files.settings, files.judges, rows, base, after, finished=files.finished),
    )


def _learnt(files: RunFiles, rows: list[RoundMetrics], rounds: Rounds) -> Iterator[Pair]:
    """The failures of all rounds with their revisions; fills `rounds` on the way, so that every round is read once."""
    trained = {row.round: row.trained for row in rows}
    for place in files.rounds():
        number = int(place.name)
        revisions = files.revisions(place)
        rounds.add(files.verdicts(place, layout.VERDICTS), revisions, files.examples(place), trained.get(number, False))
        yield from revision_pairs(revisions, number)


def _state(files: RunFiles, rows: list[RoundMetrics]) -> str:
    done, planned = len(rows) - 1, files.planned_rounds()
    if not files.finished:
        return f"not finished when this page was written: {done} of {planned} rounds done"
    return "ended early, see below" if rows[-1].stopped else f"finished, {done} rounds"


def headlines(base: RoundMetrics, last: RoundMetrics) -> list[Headline]:
    """What was measured, before and after."""
    against_base: dict[str, Comparison] = {item.what: item for item in last.comparisons if item.against == -1}
    lines = []
    for key, name in (("held_out", "Unacceptable answers"), ("benign_refusals", "Benign prompts refused")):
        if (before := getattr(base, key)) is not None:
            words, tone, change = _in_words(against_base.get(key))
            lines.append(Headline(name, rate(before), rate(getattr(last, key)), change, words, tone))
    if base.capability is not None and last.capability is not None:
        words, tone, change = _in_words(against_base.get("capability"))
        was, now = (f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]" for one in (base.capability, last.capability))
        lines.append(Headline("Capability check: perplexity", was, now, change, words, tone))
    return lines


def _in_words(change: Comparison | None) -> tuple[str, str, str]:
    """(words, tone, numbers)."""
    if change is None:
        return "no trained weights in use", "none", ""
    words, tone = {
        0: ("no change shown", "none"),
        1: ("worse: shown", "bad"),
        -1: ("better: shown", "good"),
    }[change.direction]
    if change.p is None:
        return words, tone, f"{change.difference:+.3f} nats per token [{change.low:+.3f}, {change.high:+.3f}]"
    chance = f"p = {change.p:.2g}" if change.p >= 0.001 else "p < 0.001"
    points = f"{100 * change.difference:+.1f} points [{100 * change.low:+.0f}, {100 * change.high:+.0f}]"
    return words, tone, f"{points}, McNemar {chance}"


def rate(count: Count | None) -> str:
    """With its Wilson interval; - where nothing was measured."""
    return "-" if count is None else str(Proportion(count.count, count.total))


def _curves(rows: list[RoundMetrics]) -> list[tuple[str, str, list[Point], bool]]:
    measured = [row for row in rows if row.measured is not None or row.round < 0]
    found = []
    for key, title in (("held_out", "Unacceptable held-out answers"), ("benign_refusals", "Benign prompts refused")):
        points = [_share_point(row, getattr(row, key)) for row in measured if getattr(row, key) is not None]
        found.append((title, "share, with its 95% Wilson interval", points, True))
    points = [_perplexity_point(row, row.capability) for row in measured if row.capability is not None]
    found.append(("Capability check", "perplexity, with its 95% bootstrap interval; lower is better", points, False))
    return [curve for curve in found if curve[2]]


def _share_point(row: RoundMetrics, count: Count) -> Point:
    share = Proportion(count.count, count.total)
    text = f"{_label(row)}: {share} ({count.count} of {count.total})"
    return Point(row.round, share.rate if count.total else 0.0, *share.interval, text, _thrown_away(row))


def _perplexity_point(row: RoundMetrics, one: Perplexity) -> Point:
    text = f"{_label(row)}: {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
    return Point(row.round, one.value, one.low, one.high, text, _thrown_away(row))


def _thrown_away(row: RoundMetrics) -> bool:
    return row.problem is not None and row.measured == row.round


def _label(row: RoundMetrics) -> str:
    if row.round < 0:
        return "base model"
    return f"round {row.round}" + (", thrown away" if _thrown_away(row) else "")


def _interesting(rows: list[RoundMetrics]) -> list[RoundMetrics]:
    """All rounds, or where there are many those that trained or were measured, the first MOST_ROWS of them and the last."""
    if len(rows) <= MOST_ROWS:
        return rows
    kept = [row for row in rows if row.trained or row.measured is not None or row.round < 0]
    return [*kept[: MOST_ROWS - 1], kept[-1]] if len(kept) > MOST_ROWS else kept


def _changed(files: RunFiles) -> str:
    """The settings that are not the defaults, one a line."""
    oracle = {"kind": "rules"} if files.settings.oracle.judge is None else {"judge": {"model": ""}}
    plain = load_settings({"model": {"path": ""}, "data": {"prompts": ""}, "oracle": oracle})
    given = ("model.path", "data.prompts", "oracle.judge.model")
    lines = [
        f"{key}: {value}" + ("" if key in given else f"   (default {default})")
        for key, (default, value) in differing_keys(plain, files.settings).items()
    ]
    return "\n".join([f"oracle.kind: {files.settings.oracle.kind}", *lines])
