"""Reading a run directory without its lock: also while the run goes on, when any file may not be there yet."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.files import count_records, is_there
from iteralign.records import Checkpoint, Principle, Record, Revision, TextScore, TrainingExample, Verdict
from iteralign.rundir import layout
from iteralign.rundir.jsonl import read_record, read_records, read_rows
from iteralign.scoreboard.guard_rails import Intervention
from iteralign.scoreboard.measurement import Measurement, with_numbers
from iteralign.scoreboard.metrics import RoundMetrics, final
from iteralign.settings.settings import Settings, load_settings
from iteralign.text.bounded import read_json, read_yaml

R = TypeVar("R", bound=Record)


class RunFiles:
    """The files of a run. Raises RunDirectoryError where `path` is none; what is not there yet reads as empty."""

    def __init__(self, path: Path) -> None:
        if not is_there(path / layout.ENVIRONMENT):
            raise RunDirectoryError(f"{path} is no run directory (it has no {layout.ENVIRONMENT}).")
        self.path = path
        self.settings: Settings = load_settings(path / layout.CONFIG)

    @property
    def name(self) -> str:
        """What the run is called: by its settings, else as its directory."""
        return self.settings.name or self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / layout.METRICS).exists()

    @cached_property
    def judges(self) -> tuple[str, ...]:
        """Who judged, by what the verdicts of the base model's and of the newest measured answers say. Where there are none
        yet, or they name nobody, as a judge of one's own may: by the settings."""
        measured = [part for row in (self.rows()[0], final(self.rows())) for part in self._measured(row)]
        verdicts = measured or [one for place in self.rounds() for one in self.verdicts(place, layout.VERDICTS)]
        named = dict.fromkeys(verdict.judge for verdict in verdicts if verdict.judge)
        return tuple(named) or self.settings.oracle.judge_names

    @property
    def judge(self) -> str:
        """Who judged, in one line."""
        return ", ".join(self.judges)

    def environment(self) -> dict[str, Any]:
        """Versions, hardware, seed, base model."""
        path = self.path / layout.ENVIRONMENT
        try:
            facts = read_json(path)
        except (OSError, ValueError) as error:
            raise CorruptFileError(f"{path} can't be read: {error}.") from error
        if not isinstance(facts, dict):
            raise CorruptFileError(f"{path} is not what iteralign wrote. Restore it from a copy.")
        tables = {name: facts[name] if isinstance(facts.get(name), dict) else {} for name in ("versions", "hardware")}
        return {"seed": "unknown"} | facts | tables

    def count(self, name: str) -> int:
        """Prompts of one of the four sets."""
        path = self.path / layout.begun_with(name)
        return count_records(path) if path.exists() else 0

    def planned_rounds(self) -> int:
        """Rounds that the prompts make."""
        rounds = -(-self.count(layout.PROMPTS) // self.settings.rounds.prompts)
        return min(rounds, self.settings.rounds.limit or rounds)

    def rounds(self) -> list[Path]:
        """The directories of the rounds that have begun, in order."""
        return sorted(path for path in (self.path / layout.ROUNDS).glob("[0-9]*") if path.is_dir())

    def rows(self) -> list[RoundMetrics]:
        """The base model's row, as far as it is measured, and one for each round that is done."""
        if self.finished:
            return read_rows(self.path / layout.METRICS, RoundMetrics)
        files = [place / layout.ROUND_METRICS for place in self.rounds()]
        done = [read_record(file, RoundMetrics) for file in files if file.exists()]
        return [self._base_row(), *done]

    def verdicts(self, place: Path, stage: layout.Stage[Verdict]) -> list[Verdict]:
        """A stage of verdicts: of a round's directory or of `baseline`."""
        return _many(place / stage.file, Verdict)

    def revisions(self, place: Path) -> list[Revision]:
        """All tries of a round."""
        return _many(place / layout.REVISIONS.file, Revision)

    def examples(self, place: Path) -> list[TrainingExample]:
        """What a round trained on, or would have."""
        return _many(place / layout.EXAMPLES.file, TrainingExample)

    def measurement(self, row: RoundMetrics) -> Measurement:
        """The judged answers behind a row."""
        place = self.path / layout.round_directory(row.round)
        return Measurement(
            Checkpoint(kind="base", path="", round=None if row.measured in (None, -1) else row.measured),
            self.verdicts(place, layout.HELD_OUT_VERDICTS),
            self.verdicts(place, layout.BENIGN_VERDICTS),
            _many(place / layout.CAPABILITY.file, TextScore),
        )

    def _measured(self, row: RoundMetrics) -> list[Verdict]:
        found = self.measurement(row)
        return [*found.held_out, *found.benign]

    def interventions(self) -> list[Intervention]:
        """What the guard rails did."""
        return _many(self.path / layout.GUARD_RAILS, Intervention)

    def principles(self) -> list[dict[str, Any]]:
        """constitution.yaml's entries."""
        path = self.path / layout.CONSTITUTION
        try:
            entries = read_yaml(path) if path.exists() else {"principles": []}
            for entry in entries["principles"]:
                Principle.model_validate_json(json.dumps({key: entry[key] for key in entry if key != "effect"}))
            return [dict(entry) for entry in entries["principles"]]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{path} is no constitution: {error}. Resuming the run writes it again.") from error

    def _base_row(self) -> RoundMetrics:
        return with_numbers(RoundMetrics(round=-1), self.measurement(RoundMetrics(round=-1)), ())


def _many(path: Path, kind: type[R]) -> list[R]:
    return read_records(path, kind) if path.exists() else []
