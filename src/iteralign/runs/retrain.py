"""Full weights that `training.keep: none` has left on no disk, made again from what each round was trained on.

A resumed run and a rollback need them. The same examples, seed and start give the same weights: bit for bit on a CPU, up to
the order of sums on a GPU; the loss is compared with the one on record.
"""

import logging
from collections.abc import Iterator

from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.rundir.directory import RunDirectory, read_records
from iteralign.weights.model import LocalModel

log = logging.getLogger(__name__)


def train_again(run: RunDirectory, model: LocalModel, trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Train the rounds that led to `checkpoint`, from the last of them whose weights `model` has."""
    known = {one.path: one for one in _checkpoints(run)}
    rounds: list[Checkpoint] = []
    start: Checkpoint | None = checkpoint
    while start is not None and not model.has(start):
        rounds.insert(0, start)
        start = known.get(start.start or "")
    log.warning(
        "training.keep is none, so round(s) %s are trained again from their examples.",
        ", ".join(str(one.round) for one in rounds),
    )
    for one in rounds:
        assert one.round is not None  # the base model's weights are always to be had
        directory = run.round(one.round).directory
        examples = read_records(directory / "5_examples.jsonl", TrainingExample)
        again = trainer.finetune(start or model.base, examples, directory, one.round)
        if again.loss != one.loss:
            log.warning("Round %d, trained again, has a loss of %s; it had %s.", one.round, again.loss, one.loss)
        start = one


def _checkpoints(run: RunDirectory) -> Iterator[Checkpoint]:
    """Those of all rounds so far."""
    for path in sorted(run.path.glob("rounds/*/6_checkpoint.json")):
        yield Checkpoint.model_validate_json(path.read_text(encoding="utf-8"))
