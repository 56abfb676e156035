"""One round as it lies on disk, also while the run goes on: nothing is read before it is asked for."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from iteralign import layout
from iteralign.records import (
    Checkpoint,
    Draw,
    PlaceTrial,
    Principle,
    Record,
    RedTeamPrompt,
    Response,
    Revision,
    TextScore,
    TrainingExample,
    Verdict,
)
from iteralign.rundir.jsonl import read_record
from iteralign.rundir.stages import read_stage
from iteralign.scoreboard.metrics import RoundMetrics

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class KeptRound:
    """A round, or what came before the first (number -1). A stage that is not there yet reads as empty. Every method may
    raise CorruptFileError, which names file and line."""

    number: int
    directory: Path

    @property
    def stages(self) -> list[layout.Stage[Record]]:
        """Those that are there, sittings of a review apart."""
        return [stage for stage in layout.STAGES if (self.directory / stage.file).exists()]

    def read(self, stage: layout.Stage[R]) -> list[R]:
        """The records of a stage."""
        return read_stage(self.directory, stage) or []

    def grown(self) -> list[RedTeamPrompt]:
        """Prompts that the run wrote before the round; nothing without `redteam.grow`."""
        return self.read(layout.GROWN)

    def draws(self) -> list[Draw]:
        """How the round's prompts were chosen; nothing where they were taken in the file's order."""
        return self.read(layout.DRAWS)

    def responses(self) -> list[Response]:
        """The target's answers to the round's prompts; before the first round, to the benign ones."""
        return self.read(layout.RESPONSES)

    def verdicts(self) -> list[Verdict]:
        """The judge's, on these answers."""
        return self.read(layout.VERDICTS)

    def places(self) -> list[PlaceTrial]:
        """How principles did in each place of the prompt, before the first round; nothing where the settings name one."""
        return self.read(layout.PLACES)

    def principles(self) -> list[Principle]:
        """What was proposed, with what became of it."""
        return self.read(layout.PRINCIPLES)

    def twins(self) -> list[Verdict]:
        """The base model's answers to harmless questions that the run wrote; nothing without `constitution.twins`."""
        return self.read(layout.TWINS)

    def revisions(self) -> list[Revision]:
        """All tries at answering the failures again."""
        return self.read(layout.REVISIONS)

    def examples(self) -> list[TrainingExample]:
        """What the round trained on, or would have."""
        return self.read(layout.EXAMPLES)

    def checkpoint(self) -> Checkpoint | None:
        """The weights that came of it; None where it trained none."""
        return next(iter(self.read(layout.CHECKPOINT)), None)

    def held_out(self) -> list[Verdict]:
        """The weights in use at its end on the held-out red-team prompts, where they were measured."""
        return self.read(layout.HELD_OUT_VERDICTS)

    def benign(self) -> list[Verdict]:
        """And on the held-out benign prompts."""
        return self.read(layout.BENIGN_VERDICTS)

    def capability(self) -> list[TextScore]:
        """And on the texts of the capability check."""
        return self.read(layout.CAPABILITY)

    def metrics(self) -> RoundMetrics | None:
        """The round's figures; None until it is done."""
        path = self.directory / layout.ROUND_METRICS
        return read_record(path, RoundMetrics) if path.exists() else None


def kept_round(run: Path, number: int) -> KeptRound:
    """The round of this number, whether it has begun or not; -1 for what comes before the first."""
    return KeptRound(number, run / layout.round_directory(number))


def kept_rounds(run: Path) -> list[KeptRound]:
    """Those that have begun, in order."""
    return [kept_round(run, number) for number in begun_numbers(run)]


def begun_numbers(run: Path) -> list[int]:
    """Their numbers, in order."""
    try:
        with os.scandir(run / layout.ROUNDS) as entries:
            return sorted(int(one.name) for one in entries if one.name.isdecimal() and one.is_dir())
    except FileNotFoundError:
        return []
