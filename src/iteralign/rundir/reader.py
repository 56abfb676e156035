"""Reading a run: `iteralign.read_run(path)`. Whoever wants to know what a run did asks here, and opens no file of it.

It takes no lock, so a run can be read while it goes on; what is not there yet reads as empty.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from iteralign import layout
from iteralign.constitution.given import read_ledger
from iteralign.constitution.ledger import Effect, extend
from iteralign.errors import CorruptFileError, DataError, RunDirectoryError
from iteralign.files import count_records, each_entry, number, read_log
from iteralign.oracles.budget import Call, Total, each_call, read_calls, totals_by_step
from iteralign.records import Checkpoint, Principle, RedTeamPrompt
from iteralign.rundir import begun
from iteralign.rundir.jsonl import each_record, read_records, read_rows
from iteralign.rundir.rounds import KeptRound, begun_numbers, kept_round, kept_rounds
from iteralign.scoreboard.guard_rails import Intervention
from iteralign.scoreboard.measurement import Measurement, with_numbers
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import load_settings

State = Literal["running", "waiting", "stopped", "killed", "finished"]
"""waiting: for a person's review; stopped: it ended early and said why; killed: it ended without a word."""


@dataclass(frozen=True)
class Attempt:
    """How the latest process fares that worked on a run."""

    state: State
    reason: str | None
    """Why it stopped: the error's name."""
    process: int | None
    """On whichever machine that was."""


@dataclass(frozen=True)
class Waiting:
    """What a run waits for a person to decide."""

    round: int
    sheet: Path
    """The file to be filled in."""
    principles: list[Principle]


def read_run(path: Path | str) -> "Run":
    """The run in this directory, as far as it is. Raises RunDirectoryError where there is none, or one of another layout;
    ConfigError or CorruptFileError where its settings or environment can't be read. Nothing else is read yet."""
    return Run(Path(path))


class Run:
    """A run on disk. Every method reads its file when it is called, and may raise CorruptFileError, which names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = begun.read_environment(path)
        """Versions, hardware, seed, base model, and the settings that it began with."""
        self.settings = load_settings(path / layout.CONFIG)

    @property
    def name(self) -> str:
        """What the run is called: by its settings, else as its directory."""
        return self.settings.name or self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether all its rounds were measured and its model written, whatever a later process did."""
        return (self.path / layout.METRICS).exists()

    @property
    def state(self) -> State:
        """running, waiting (for a person's review), stopped, killed or finished."""
        return self.attempt().state

    def attempt(self) -> Attempt:
        """The latest process. One that ended without a word was killed; on another machine it can't be looked up."""
        attempts = read_log(self.path / layout.ATTEMPTS)
        last = attempts[-1] if attempts else {}
        event, pid = str(last.get("event", "")), last.get("pid")
        process = pid if isinstance(pid, int) else None
        if event == "finished":
            return Attempt("finished", None, process)
        if event.startswith("stopped"):
            state: State = "stopped" if self.waiting() is None else "waiting"
            return Attempt(state, event.partition(": ")[2], process)
        return Attempt("running" if process is not None and _is_alive(process) else "killed", None, process)

    def prompts(self, name: str = layout.PROMPTS) -> list[RedTeamPrompt]:
        """A prompt set: prompts, held_out, benign or benign_held_out."""
        return begun.prompts_of(self.path, name)

    def each_prompt(self) -> Iterator[RedTeamPrompt]:
        """The red-team prompts that the run began with, one after another: a large run has many."""
        return each_record(self.path / layout.begun_with(layout.PROMPTS), RedTeamPrompt)

    def count(self, name: str = layout.PROMPTS) -> int:
        """How many prompts a set has, none of which is looked at."""
        path = self.path / layout.begun_with(name)
        return count_records(path) if path.exists() else 0

    def planned_rounds(self) -> int:
        """Rounds that the prompts make; a guard rail may end the run earlier."""
        prompts = self.count() * (1 + len(self.settings.redteam.forms))
        rounds = -(-prompts // self.settings.rounds.prompts)
        return min(rounds, self.settings.rounds.limit or rounds)

    @property
    def baseline(self) -> KeptRound:
        """The stages before the first round: what the base model does."""
        return kept_round(self.path, -1)

    def rounds(self) -> list[KeptRound]:
        """Those that have begun, in order."""
        return kept_rounds(self.path)

    def newest(self, count: int) -> list[KeptRound]:
        """The latest of them, the newest first."""
        return [kept_round(self.path, number) for number in reversed(begun_numbers(self.path)[-count:])]

    def round(self, number: int) -> KeptRound:
        """One of them. Raises RunDirectoryError for a number that there is none of."""
        one = kept_round(self.path, number)
        if number < 0 or not one.directory.is_dir():
            raise RunDirectoryError(f"{self.path} has {len(self.rounds())} rounds so far; there is no round {number}.")
        return one

    def done(self) -> list[RoundMetrics]:
        """The figures of the rounds that are done; of a finished run, the base model's before them."""
        if self.finished:
            return read_rows(self.path / layout.METRICS, RoundMetrics)
        return [row for row in (one.metrics() for one in self.rounds()) if row is not None]

    def rounds_done(self) -> int:
        """How many, whose figures are not looked at."""
        if self.finished:  # with a row of the base model's
            return count_records(self.path / layout.METRICS) - 1
        numbers = reversed(begun_numbers(self.path))
        return next(
            (one + 1 for one in numbers if (kept_round(self.path, one).directory / layout.ROUND_METRICS).exists()), 0
        )

    def metrics(self) -> list[RoundMetrics]:
        """The base model's figures (round -1), as far as it is measured, and those of the rounds that are done."""
        base = RoundMetrics(round=-1)
        return self.done() if self.finished else [with_numbers(base, self.measurement(base), ()), *self.done()]

    def measurement(self, row: RoundMetrics) -> Measurement:
        """The judged answers behind a row."""
        place = kept_round(self.path, row.round)
        weights = Checkpoint(kind="base", path="", round=None if row.measured in (None, -1) else row.measured)
        return Measurement(weights, place.held_out(), place.benign(), place.capability())

    def before_and_after(self) -> tuple[Measurement, Measurement]:
        """The judged held-out and benign answers of the base model, and of the weights in use at the end."""
        rows = self.metrics()
        return self.measurement(rows[0]), self.measurement(final(rows))

    @cached_property
    def judges(self) -> tuple[str, ...]:
        """Who judged, by what the verdicts of the base model's and of the newest measured answers say. Where there are none
        yet, or they name nobody, as a judge of one's own may: by the settings."""
        measured = [verdict for one in self.before_and_after() for verdict in (*one.held_out, *one.benign)]
        verdicts = measured or [verdict for one in self.rounds() for verdict in one.verdicts()]
        named = dict.fromkeys(verdict.judge for verdict in verdicts if verdict.judge)
        return tuple(named) or self.settings.oracle.judge_names

    @property
    def judge(self) -> str:
        """Who judged, in one line."""
        return ", ".join(self.judges)

    def constitution(self) -> tuple[list[Principle], dict[str, Effect]]:
        """The ledger. Raises RunDirectoryError before the first round is done."""
        if not (self.path / layout.CONSTITUTION).exists():
            raise RunDirectoryError(f"{self.path} has no constitution yet: no round has ended.")
        return self.ledger()

    def ledger(self) -> tuple[list[Principle], dict[str, Effect]]:
        """Every principle after the last round that is done, whatever its status; and what was measured of its
        effect, by id. Empty before the first round is done."""
        path = self.path / layout.CONSTITUTION
        try:
            return read_ledger(path) if path.exists() else ([], {})
        except DataError as error:
            raise CorruptFileError(f"{path} is no constitution: {error} Resuming the run writes it again.") from error

    def constitution_after(self, number: int) -> list[Principle]:
        """Every principle as it was at the end of a round; -1 is before the first. Raises RunDirectoryError."""
        ledger = begun.given_constitution(self.path)
        last = self.round(number).number if number >= 0 else number
        for one in self.rounds():
            ledger = extend(ledger, one.principles() if one.number <= last else ())
        return ledger

    def waiting(self) -> Waiting | None:
        """What a person has to decide before the run goes on: in the newest round, since none follows one that waits."""
        for one in self.newest(1):
            for sheet in sorted(one.directory.glob(layout.review_sheet("*"))):
                sitting = int(sheet.stem.partition("-")[2])
                if not (one.directory / layout.REVIEWED.sitting(sitting).file).exists():
                    before = (layout.TRIED_AGAIN.sitting(sitting - 1), layout.TRIED, layout.DISTINCT, layout.PROPOSALS)
                    return Waiting(one.number, sheet, next(filter(None, map(one.read, before)), []))
        return None

    def interventions(self) -> list[Intervention]:
        """What the guard rails did."""
        path = self.path / layout.GUARD_RAILS
        return read_records(path, Intervention) if path.exists() else []

    def calls(self) -> list[Call]:
        """The oracle's account: one entry for each call of an endpoint."""
        return read_calls(self.path / layout.CALLS)

    def spent(self) -> dict[str, Total]:
        """Calls, tokens and cost by step, as far as the account goes."""
        return totals_by_step(each_call(self.path / layout.CALLS))

    def warnings(self) -> list[str]:
        """What went wrong without ending the run."""
        return [str(line.get("warning", "")) for line in read_log(self.path / layout.WARNINGS)]

    def timings(self) -> list[tuple[str, str, float]]:
        """(round's directory, stage, seconds) of every stage that was computed, all attempts together."""
        return list(self.each_timing())

    def each_timing(self) -> Iterator[tuple[str, str, float]]:
        """The same one after another: of a large run they are many."""
        for line in each_entry(self.path / layout.TIMINGS):
            name = str(line.get("stage", ""))
            yield name.partition("/")[0], name.rpartition("/")[2], number(line.get("seconds"))

    def seconds(self) -> dict[str, float]:
        """Spent by the name of the round's directory."""
        spent: dict[str, float] = {}
        for place, _, seconds in self.each_timing():
            spent[place] = spent.get(place, 0.0) + seconds
        return spent

    def checkpoint(self) -> Checkpoint | None:
        """The weights in use after the last round that is done; None for the base model's."""
        done = self.done()
        return self.round(done[-1].weights).checkpoint() if done and done[-1].weights >= 0 else None

    @property
    def model(self) -> Path | None:
        """The aligned model in Hugging Face format; None until it is written."""
        path = self.path / layout.MODEL
        return path if (path / "config.json").exists() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
