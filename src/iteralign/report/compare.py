"""Runs side by side: what was set differently, what was measured, and paired tests where the prompts are the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iteralign.config import differing_keys
from iteralign.errors import ConfigError
from iteralign.evals.paired import Change, change_of_shares
from iteralign.metrics import RoundMetrics, final
from iteralign.records import Verdict
from iteralign.report.files import RunFiles
from iteralign.scoreboard.measurement import Measurement


@dataclass(frozen=True)
class Column:
    """One run."""

    name: str
    finished: bool
    rounds: int
    trained: int
    principles: int
    first: RoundMetrics
    last: RoundMetrics
    judge: str


@dataclass(frozen=True)
class PairedTest:
    """The last measurement of a run against the first run's, over the prompts that both have."""

    run: str
    what: str
    change: Change


@dataclass(frozen=True)
class Compared:
    """All of it."""

    columns: list[Column]
    settings: dict[str, list[Any]]
    """For each setting that differs, its value in each run."""
    tests: list[PairedTest]
    notes: list[str]


def compare_runs(paths: Sequence[Path]) -> Compared:
    """Two or more runs; the first is what the others are tested against. Raises ConfigError, RunDirectoryError."""
    if len(paths) < 2:
        raise ConfigError("Give two or more run directories to compare.")
    runs = [RunFiles(path) for path in paths]
    names = _names(runs)
    columns = [_column(name, run) for name, run in zip(names, runs, strict=True)]
    measured = [run.measurement(column.last) for run, column in zip(runs, columns, strict=True)]
    tests = [
        test for name, other in zip(names[1:], measured[1:], strict=True) for test in _tests(name, measured[0], other)
    ]
    return Compared(columns, _differing(runs), tests, list(_notes(columns, tests)))


def _column(name: str, run: RunFiles) -> Column:
    rows = run.rows()
    return Column(
        name=name,
        finished=run.finished,
        rounds=len(rows) - 1,
        trained=sum(row.trained for row in rows),
        principles=sum(entry.get("status", "adopted") == "adopted" for entry in run.principles()),
        first=rows[0],
        last=final(rows),
        judge=run.judge,
    )


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """What the runs are called, or their paths where two are called the same."""
    short = [run.name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _differing(runs: Sequence[RunFiles]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(
        key for run in runs[1:] for key in differing_keys(runs[0].settings, run.settings) if key != "name"
    )
    found: dict[str, list[Any]] = {}
    for key in keys:
        values = []
        for run in runs:
            section: Any = run.settings.model_dump(mode="json")
            for part in key.split("."):
                section = section.get(part) if isinstance(section, dict) else None
            values.append(section)
        found[key] = values
    return found


def _tests(name: str, first: Measurement, other: Measurement) -> list[PairedTest]:
    unacceptable = change_of_shares(
        _by_question(first.held_out, first.unacceptable()), _by_question(other.held_out, other.unacceptable())
    )
    refused = change_of_shares(_by_question(first.benign, first.refused()), _by_question(other.benign, other.refused()))
    return [PairedTest(name, "unacceptable answers", unacceptable), PairedTest(name, "benign refusals", refused)]


def _by_question(verdicts: Sequence[Verdict], values: dict[str, bool]) -> dict[str, bool]:
    """By what was asked, since ids need not mean the same in two runs."""
    prompts = [verdict.response.prompt for verdict in verdicts]
    return {repr((prompt.history, prompt.question)): values[prompt.id] for prompt in prompts if prompt.id in values}


def _notes(columns: Sequence[Column], tests: Sequence[PairedTest]) -> list[str]:
    notes = []
    if len({column.judge for column in columns}) > 1:
        notes.append(
            "The runs were judged by different judges, so their rates of unacceptable answers can't be compared."
        )
    without = sorted({test.run for test in tests if not test.change.total})
    if without:
        notes.append(f"No prompts in common with {columns[0].name}, so no paired test: {', '.join(without)}.")
    unfinished = [column.name for column in columns if not column.finished]
    if unfinished:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    if len(columns) > 2:
        notes.append(
            f"{len(columns) - 1} runs were each tested against {columns[0].name}; p values are not corrected for that."
        )
    return notes
