"""The view model of a run: everything the page shows, read from the run directory and bounded in size."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import iteralign
from iteralign import layout
from iteralign.integrity.verify import verify_run
from iteralign.oracles.budget import Total, totals_by_step
from iteralign.records import PlaceTrial
from iteralign.redteam.pool import in_forms
from iteralign.report.answers import Pair, PairSet, benign_pairs, held_out_pairs, revision_pairs, sampled
from iteralign.report.asked import AskedMap, AskedRounds
from iteralign.report.chart import Point
from iteralign.report.limits import limits
from iteralign.report.principles import Rounds, Tree, tree
from iteralign.report.tables import (
    CategoryChange,
    Heat,
    StageTime,
    category_changes,
    endpoints,
    heat,
    stage_times,
)
from iteralign.rundir.reader import Run, read_run
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
    asked: AskedMap
    categories: list[CategoryChange]
    places: list[PlaceTrial]
    """Where principles were tried to stand; empty where the settings say it."""
    tree: Tree
    pairs: list[PairSet]
    stages: list[StageTime]
    calls: dict[str, Total]
    """By step."""
    endpoints: list[str]
    changed_settings: str
    settings: str
    environment: dict[str, Any]
    limits: list[str]


def view_of(run_dir: Path) -> View:
    """Read a run. Raises RunDirectoryError. A run that goes on is shown as far as it is."""
    run = read_run(run_dir)
    rows = run.metrics()
    last = final(rows)
    base, after = run.before_and_after()
    rounds, asking = Rounds(), AskedRounds(run.settings.form.name)
    pairs = [
        sampled("training", "Training prompts", _learnt(run, rows, rounds, asking), folded=True),
        sampled("held-out", "Held-out red-team prompts", held_out_pairs(base.held_out, after.held_out), folded=True),
        sampled("benign", "Held-out benign prompts", benign_pairs(base.benign, after.benign), folded=False),
    ]
    pairs = [*pairs[1:], pairs[0]]
    kept = _interesting(rows)
    return View(
        name=run.name,
        model=run.settings.model.path,
        judge=run.judge,
        state=_state(run, rows),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=iteralign.__version__,
        ending=ending(rows) if run.finished else None,
        problems=verify_run(run_dir, big=False).problems,
        headlines=headlines(rows[0], last),
        curves=_curves(rows),
        rows=kept,
        rows_left_out=len(rows) - len(kept),
        interventions=run.interventions(),
        heat=heat(rounds.failed, rounds.judged),
        asked=asking.map(in_forms([*run.prompts(), *asking.grown], run.settings.redteam.forms)),
        categories=category_changes(base.held_out, after.held_out),
        places=run.baseline.places(),
        tree=tree(*run.ledger(), rounds),
        pairs=pairs,
        stages=stage_times(run.timings()),
        calls=totals_by_step(run.calls()),
        endpoints=endpoints(run_dir / layout.ENDPOINTS),
        changed_settings=_changed(run),
        settings=read_text(run_dir / layout.CONFIG),
        environment=run.environment,
        limits=limits(run.settings, run.judges, rows, base, after, finished=run.finished),
    )


def _learnt(run: Run, rows: list[RoundMetrics], rounds: Rounds, asking: AskedRounds) -> Iterator[Pair]:
    """The failures of all rounds with their revisions; fills `rounds` and `asking` on the way, so that every round is read
    once."""
    trained = {row.round: row.trained for row in rows}
    for one in run.rounds():
        revisions, verdicts = one.revisions(), one.verdicts()
        rounds.add(verdicts, revisions, one.examples(), trained.get(one.number, False))
        asking.wrote(one.grown())
        asking.add(one.number, verdicts, one.draws(), trained.get(one.number, False))
        yield from revision_pairs(revisions, one.number)


def _state(run: Run, rows: list[RoundMetrics]) -> str:
    done, planned = len(rows) - 1, run.planned_rounds()
    if not run.finished:
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


def _changed(run: Run) -> str:
    """The settings that are not the defaults, one a line."""
    oracle = {"kind": "rules"} if run.settings.oracle.judge is None else {"judge": {"model": ""}}
    plain = load_settings({"model": {"path": ""}, "data": {"prompts": ""}, "oracle": oracle})
    given = ("model.path", "data.prompts", "oracle.judge.model")
    lines = [
        f"{key}: {value}" + ("" if key in given else f"   (default {default})")
        for key, (default, value) in differing_keys(plain, run.settings).items()
    ]
    return "\n".join([f"oracle.kind: {run.settings.oracle.kind}", *lines])
