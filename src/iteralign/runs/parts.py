"""What a run is made of: the three seams, and what goes with them."""

from dataclasses import dataclass
from pathlib import Path

from iteralign.interfaces import Oracle, Target, Trainer
from iteralign.prompts.forms import PromptForm
from iteralign.records import Checkpoint
from iteralign.runs import build
from iteralign.runs.prompt_sets import PromptSets
from iteralign.settings.settings import Settings
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


def build_parts(
    settings: Settings,
    directory: Path,
    *,
    target: Target | None = None,
    oracle: Oracle | None = None,
    trainer: Trainer | None = None,
    form: PromptForm | None = None,
) -> Parts:
    """The parts that the settings name, where none is given. Nothing heavy is loaded before it is used."""
    model = build.build_model(settings, directory)
    answers = target or build.build_target(settings, model)
    tracking = build.build_tracking(settings, directory)
    return Parts(
        target=answers,
        oracle=oracle or build.build_oracle(settings.oracle, settings.seed, directory),
        trainer=trainer or build.build_trainer(settings, model, answers, tracking),
        form=form or build.build_form(settings, model),
        base=model.base,
        model=model if target is None else None,
        tracking=tracking,
    )
