"""The view model of runs side by side: what `compare` prints, and their curves, constitutions and answers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from iteralign.constitution.ledger import in_force
from iteralign.errors import ConfigError
from iteralign.records import Principle, Verdict
from iteralign.report.chart import Bar, Curve
from iteralign.report.compare import Column, Compared, PairedTest, asked, compared
from iteralign.report.curves import curves
from iteralign.report.gains import cost_of, difference_in_words, numbers, percent, share_bar, size_of
from iteralign.rundir.reader import Run, read_run
from iteralign.scoreboard.metrics import Count

MOST_RUNS = 5
"""On one page: more are a table, which the terminal prints."""
MOST_PRINCIPLES, MOST_QUESTIONS = 300, 100


@dataclass(frozen=True)
class Took:
    """What a run took."""

    seconds: float
    cost: str


@dataclass(frozen=True)
class Told:
    """A run against the first one, in words."""

    test: PairedTest
    words: str
    tone: str
    numbers: str


@dataclass(frozen=True)
class SharedPrinciple:
    """A principle by its words: in each run, how many failures gave rise to it; None where the run did not adopt it."""

    text: str
    evidence: list[int | None]


@dataclass(frozen=True)
class SharedQuestion:
    """A held-out question that all runs were asked, with the verdict on each run's answer at its end."""

    question: str
    verdicts: list[Verdict]

    @property
    def differs(self) -> bool:
        """Whether the runs' answers were judged differently."""
        return len({one.label for one in self.verdicts}) > 1


@dataclass(frozen=True)
class SideBySide:
    """The page."""

    compared: Compared
    spent: list[Took]
    tests: list[Told]
    curves: list[Curve]
    principles: list[SharedPrinciple]
    principles_left_out: int
    questions: list[SharedQuestion]
    questions_in_all: int
    differing: int

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [column.name for column in self.compared.columns]

    @property
    def lead(self) -> list[str]:
        """What became of unacceptable answers in each run, and of benign refusals."""
        return [_lead(column) for column in self.compared.columns]

    def bar(self, count: Count | None) -> Bar | None:
        """A share as it is drawn."""
        return None if count is None else share_bar(count)


def side_by_side(paths: Sequence[Path]) -> SideBySide:
    """Two to five runs; the first is what the others are tested against. Raises ConfigError, RunDirectoryError."""
    if not 2 <= len(paths) <= MOST_RUNS:
        raise ConfigError(
            f"A page shows two to {MOST_RUNS} runs side by side; {len(paths)} were given. `iteralign compare` without "
            "--html prints a table of more."
        )
    runs = [read_run(path) for path in paths]
    made = compared(runs)
    principles = _principles([in_force(run.ledger()[0]) for run in runs])
    questions = _questions([run.measurement(column.last).held_out for run, column in _with_columns(runs, made)])
    return SideBySide(
        compared=made,
        spent=[Took(sum(run.seconds().values()), cost_of(run.spent().values())) for run in runs],
        tests=[_in_words(test) for test in made.tests],
        curves=curves([(column.name, run.metrics()) for run, column in _with_columns(runs, made)]),
        principles=principles[:MOST_PRINCIPLES],
        principles_left_out=max(0, len(principles) - MOST_PRINCIPLES),
        questions=questions[:MOST_QUESTIONS],
        questions_in_all=len(questions),
        differing=sum(one.differs for one in questions),
    )


def _with_columns(runs: Sequence[Run], made: Compared) -> Iterator[tuple[Run, Column]]:
    return zip(runs, made.columns, strict=True)


def _lead(column: Column) -> str:
    pairs = (
        ("unacceptable answers", column.first.held_out, column.last.held_out),
        ("harmless questions refused", column.first.benign_refusals, column.last.benign_refusals),
    )
    told = [
        f"{what} {percent(before)} \N{RIGHTWARDS ARROW} {percent(after)}"
        for what, before, after in pairs
        if before and after
    ]
    return ", ".join(told) or "nothing measured"


def _in_words(test: PairedTest) -> Told:
    change = test.change
    tone = "none" if size_of(change) == "negligible" else {1: "bad", -1: "good", 0: "none"}[change.direction]
    return Told(test, difference_in_words(change), tone, numbers(change))


def _principles(constitutions: Sequence[Sequence[Principle]]) -> list[SharedPrinciple]:
    """By their words, those that most runs have first."""
    evidence: dict[str, list[int | None]] = defaultdict(lambda: [None] * len(constitutions))
    for number, principles in enumerate(constitutions):
        for one in principles:
            evidence[one.text][number] = (evidence[one.text][number] or 0) + len(one.evidence)
    made = [SharedPrinciple(text, counts) for text, counts in evidence.items()]
    return sorted(made, key=lambda one: (one.evidence.count(None), -sum(count or 0 for count in one.evidence)))


def _questions(measured: Sequence[Sequence[Verdict]]) -> list[SharedQuestion]:
    """Those that all runs have: where they differ first, then where none did well."""
    by_question = [{asked(verdict.response.prompt): verdict for verdict in verdicts} for verdicts in measured]
    shared = [key for key in by_question[0] if all(key in other for other in by_question)]
    made = []
    for key in shared:
        verdicts = [verdicts[key] for verdicts in by_question]
        made.append(SharedQuestion(verdicts[0].response.prompt.question, verdicts))
    return sorted(
        made, key=lambda one: (not one.differs, all(verdict.label == "acceptable" for verdict in one.verdicts))
    )
