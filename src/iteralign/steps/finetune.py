"""Supervised fine-tuning on the verified pairs (paper section 3.5); a training that diverges leaves the weights before it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from iteralign.errors import TrainingDiverged
from iteralign.interfaces import Target, Trainer
from iteralign.records import Checkpoint, TrainingExample

log = logging.getLogger(__name__)


def finetune(
    trainer: Trainer,
    target: Target,
    start: Checkpoint,
    examples: Sequence[TrainingExample],
    directory: Path,
    round_number: int,
) -> Checkpoint:
    """The checkpoint after the round: the trained one, or `start` with the `problem` that the training ended in.

    The target rests meanwhile.
    """
    target.rest()
    try:
        return trainer.finetune(start, examples, directory, round_number)
    except TrainingDiverged as error:
        log.warning("%s", error)
        return start.model_copy(update={"problem": str(error)})
