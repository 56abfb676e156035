"""Runs side by side: what was set differently, what was measured, and paired tests where the prompts are the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iteralign.constitution.ledger import in_force
from iteralign.errors import ConfigError
from iteralign.records import RedTeamPrompt, Verdict
from iteralign.rundir.reader import Run, read_run
from iteralign.scoreboard.measurement import Measurement
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import differing_keys
from iteralign.stats.paired import Change, change_of_shares


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
    """The last measurement of a run against the first run's, over the prompts that both have: at least one."""

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
    return compared([read_run(path) for path in paths])


def compared(runs: Sequence[Run]) -> Compared:
    """The same of runs that are read."""
    names = _names(runs)
    columns = [_column(name, run) for name, run in zip(names, runs, strict=True)]
    measured = [run.measurement(column.last) for run, column in zip(runs, columns, strict=True)]
    tests: list[PairedTest] = []
    notes: list[str] = []
    for name, run, other in zip(names[1:], runs[1:], measured[1:], strict=True):
        judged_alike = _judging(run) == _judging(runs[0])
        tests += _tests(name, measured[0], other, judged_alike)
        notes += _pair_notes((names[0], name), (runs[0], run), (measured[0], other), judged_alike)
    return Compared(columns, _differing(runs), tests, [*notes, *_notes(columns)])


def _column(name: str, run: Run) -> Column:
    rows = run.metrics()
    return Column(
        name=name,
        finished=run.finished,
        rounds=len(rows) - 1,
        trained=sum(row.trained for row in rows),
        principles=len(in_force(run.ledger()[0])),
        first=rows[0],
        last=final(rows),
        judge=run.judge,
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """What the runs are called, or their paths where two are called the same."""
    short = [run.name for run in runs]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
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


def _judging(run: Run) -> tuple[Any, ...]:
    """What two runs must have in common for their verdicts to mean the same."""
    oracle = run.settings.oracle
    text = oracle.texts.get("judge") if isinstance(oracle.texts, dict) else oracle.texts
    return sorted(run.judges), text, oracle.votes


def _tests(name: str, first: Measurement, other: Measurement, judged_alike: bool) -> list[PairedTest]:
    """Of verdicts only where the judge is the same; refusals are found by phrases, whoever judged."""
    refused = change_of_shares(_by_question(first.benign, first.refused()), _by_question(other.benign, other.refused()))
    tests = [PairedTest(name, "benign refusals", refused)]
    if judged_alike:
        unacceptable = change_of_shares(
            _by_question(first.held_out, first.unacceptable()), _by_question(other.held_out, other.unacceptable())
        )
        tests.insert(0, PairedTest(name, "unacceptable answers", unacceptable))
    return [test for test in tests if test.change.total]


def _by_question(verdicts: Sequence[Verdict], values: dict[str, bool]) -> dict[str, bool]:
    prompts = [verdict.response.prompt for verdict in verdicts]
    return {asked(prompt): values[prompt.id] for prompt in prompts if prompt.id in values}


def asked(prompt: RedTeamPrompt) -> str:
    """What was asked: ids need not mean the same in two runs."""
    return repr((prompt.history, prompt.question))


def _pair_notes(
    names: tuple[str, str],
    runs: tuple[Run, Run],
    measured: tuple[Measurement, Measurement],
    judged_alike: bool,
) -> Iterator[str]:
    """What keeps the second run from being compared with the first."""
    first, other = names
    if not judged_alike:
        judges = [run.judge for run in runs]
        how = f"{judges[1]}, {first} by {judges[0]}" if judges[0] != judges[1] else "another text or number of votes"
        yield (
            f"{other} was judged by {how}: their rates of unacceptable answers can't be compared, and no test of them is "
            "made."
        )
    for what, was, now in (
        ("red-team", measured[0].held_out, measured[1].held_out),
        ("benign", measured[0].benign, measured[1].benign),
    ):
        here, there = _questions(was), _questions(now)
        if not here & there:
            yield f"{other} and {first} have no held-out {what} question in common, so no test."
        elif here != there:
            yield (
                f"{other} held out {len(there)} {what} questions and {first} {len(here)}, {len(here & there)} of them the "
                "same: the rates are of different questions, and the test is over the same ones alone."
            )


def _questions(verdicts: Sequence[Verdict]) -> set[str]:
    return set(_by_question(verdicts, {verdict.response.prompt.id: True for verdict in verdicts}))


def _notes(columns: Sequence[Column]) -> Iterator[str]:
    unfinished = [column.name for column in columns if not column.finished]
    if unfinished:
        yield f"Not finished: {', '.join(unfinished)}."
    if len(columns) > 2:
        yield f"{len(columns) - 1} runs were each tested against {columns[0].name}; p values are not corrected for that."
