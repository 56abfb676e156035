"""What a run is made of: the three seams, and what goes with them."""

from dataclasses import dataclass
from pathlib import Path

from iteralign.errors import ConfigError
from iteralign.interfaces import Oracle, Part, Target, Trainer
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint
from iteralign.runs import build
from iteralign.runs.prompt_sets import PromptSets
from iteralign.settings.settings import Settings
from iteralign.trainers.group import Group
from iteralign.trainers.tracking import Tracking
from iteralign.weights.model import LocalModel


@dataclass
class Parts:
    """The three seams and the form of a run. Parts of your own go in here."""

    target: Target
    oracle: Oracle
    trainer: Trainer
    form: PromptForm
    base: Checkpoint
    model: LocalModel | None = None
    """The weights' owner, where the target is a model in this process; it writes RUN/model."""
    tracking: Tracking | None = None
    """The trackers that the trainer tells too; None: those that the settings name."""
    sets: PromptSets | None = None
    """The prompts of a new run; None: those that the settings name."""
    made: tuple[Part, ...] = ()
    """Those that were built for this run, which ends them."""

    def __post_init__(self) -> None:
        for name, part, base in self._seams():
            if not isinstance(part, base):
                kind = type(part).__name__
                raise ConfigError(
                    f"{name}: {kind} is no iteralign.{base.__name__}. Derive it: `class {kind}(iteralign.{base.__name__})`; "
                    "see docs/extending.md for what it must have."
                )

    def check(self) -> None:
        """Each part's own check, before anything is computed. Raises an IteralignError."""
        for _, part, _ in self._seams():
            part.check()

    def close(self) -> None:
        """End what was built for this run."""
        for part in self.made:
            part.close()

    def _seams(self) -> tuple[tuple[str, Part, type[Part]], ...]:
        return ("target", self.target, Target), ("oracle", self.oracle, Oracle), ("trainer", self.trainer, Trainer)


def build_parts(
    settings: Settings,
    directory: Path,
    *,
    target: Target | None = None,
    oracle: Oracle | None = None,
    trainer: Trainer | None = None,
    form: PromptForm | None = None,
    group: Group | None = None,
) -> Parts:
    """The parts that the settings name, where none is given. Nothing heavy is loaded before it is used. `group`: training
    processes that are there already."""
    model = build.build_model(settings, directory)
    tracking = build.build_tracking(settings, directory)
    pool = build.build_pool(settings)
    parts = (
        target or build.build_target(settings, model, pool),
        oracle or build.build_oracle(settings.oracle, settings.seed, directory),
        trainer or build.build_trainer(settings, model, tracking, pool, group),
    )
    return Parts(
        *parts,
        form=build.build_forms(settings, model, form or build.build_form(settings, model)),
        base=model.base,
        model=model if target is None else None,
        tracking=tracking,
        made=tuple(part for part in parts if part not in (target, oracle, trainer)),
    )
