"""One training by trl: what all objectives have in common. The model is trained in place."""

import dataclasses
import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from iteralign.errors import TrainingDiverged, TrainingError
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import Scheduler, TrainingSettings
from iteralign.trainers.restoring import collecting_only_new_objects, restored
from iteralign.trainers.rows import TokenRow
from iteralign.weights.model import LocalModel

StepCallback = Callable[[int, int], None]
"""Called with (optimiser steps done, steps in all)."""


class Trained(NamedTuple):
    """What came of a training, besides the weights."""

    loss: float
    steps: int
    """Of the optimiser."""
    tokens: int
    """Read in all."""
    log: list[dict[str, Any]]
    """Of the steps."""


class Objective(ABC):
    """What is learnt from a round's examples: their rows, and the trl trainer that goes through them."""

    compares_throughout: bool = False
    """Whether the weights to compare with are needed in every step, and not before the first alone."""

    @abstractmethod
    def rows(
        self, model: LocalModel, examples: Sequence[TrainingExample], settings: TrainingSettings
    ) -> Sequence[TokenRow]:
        """TrainingError where there are none, or one can't be trained on."""

    @abstractmethod
    def trainer(self, settings: TrainingSettings, reference: Any, arguments: dict[str, Any], **common: Any) -> Any:
        """The trl trainer, told of what is the objective's own; `arguments` are those of its config that all have.

        `reference`: the network that the trainee is compared with; None: itself, as it is before the training.
        """

    def compared_with(self, settings: TrainingSettings, start: Checkpoint, base: Checkpoint) -> Checkpoint | None:
        """The weights that the trainee, which begins as `start`, is compared with; None: with none."""
        return None

    def tokens(self, trainer: Any, rows: Sequence[TokenRow], settings: TrainingSettings) -> int:
        """All that the model has read."""
        return sum(row.tokens for row in rows) * settings.epochs

    def check(self, trainer: Any, round_number: int) -> None:
        """After the training. TrainingDiverged where the outcome must not be used."""
        return


def train(
    objective: Objective,
    trainee: Any,
    tokenizer: Any,
    rows: Sequence[TokenRow],
    settings: TrainingSettings,
    round_number: int,
    seed: int,
    use_cpu: bool,
    autocast: bool,
    log_steps: bool,
    reference: Any = None,
    progress: StepCallback | None = None,
) -> Trained:
    """Train in place. The model is in eval mode and otherwise as before after it.

    `autocast`: multiply in bfloat16, whatever the weights are. `log_steps`: keep transformers' log of every step.
    """
    import datasets  # type: ignore[import-untyped, unused-ignore]
    import transformers

    with (
        tempfile.TemporaryDirectory(prefix="iteralign-training-") as scratch,
        restored(trainee),
        collecting_only_new_objects(),
    ):
        trainer = objective.trainer(
            settings,
            reference,
            _arguments(settings, seed, use_cpu)
            | {"output_dir": scratch, "logging_strategy": "steps" if log_steps else "no", "bf16": autocast},
            model=trainee,
            processing_class=tokenizer,
            train_dataset=datasets.Dataset.from_list([dataclasses.asdict(row) for row in rows]),
            callbacks=[_steps_callback(progress)] if progress else [],
        )
        del reference  # an objective that needs it no longer than this lets go of it, too
        trainer.remove_callback(transformers.PrinterCallback)  # prints to stdout
        output = trainer.train()
        objective.check(trainer, round_number)
        loss, steps, log = float(output.training_loss), int(trainer.state.global_step), list(trainer.state.log_history)
        found = Trained(loss, steps, objective.tokens(trainer, rows, settings), log)
        trainer.let_go()
        return found


def check_finite(loss: float, broken: str | None, round_number: int) -> None:
    """TrainingDiverged unless the loss is finite and all weights are. `broken` is the name of one that is not."""
    if broken is not None or not math.isfinite(loss):
        what = f"the weights of {broken} are not finite" if broken is not None else f"the loss is {loss}"
        raise TrainingDiverged(
            f"Training diverged in round {round_number}: {what}. The weights of the round before stay in use. "
            "Lower the learning rate or use a longer warm-up."
        )


def rate(scheduler: Scheduler, step: int, warmup: int, steps: int) -> float:
    """Share of the learning rate at optimiser step `step` (from 0) of `steps`; above zero at every one of them.

    transformers' own schedules begin with a step at rate zero whenever there is a warm-up, which of the 3 to 6 steps of
    a round is much.
    """
    if step < warmup:
        return (step + 1) / warmup
    left = max(0.0, (steps - step) / (steps - warmup + 1)) if step > warmup else 1.0
    match scheduler:
        case "linear":
            return left
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (1 - left)))
        case "constant":
            return 1.0


def _arguments(settings: TrainingSettings, seed: int, use_cpu: bool) -> dict[str, Any]:
    """What trl's configs are told of our settings, whatever the objective."""
    import torch

    return {
        "save_strategy": "no",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",  # the run's own trackers are told afterwards
        "disable_tqdm": True,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "weight_decay": settings.weight_decay,
        "lr_scheduler_type": settings.scheduler,
        "warmup_steps": settings.warmup_ratio,  # below 1 a share, see create_scheduler
        "gradient_checkpointing": settings.gradient_checkpointing,  # trl reads this name, transformers the next
        "activation_checkpointing": settings.gradient_checkpointing,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": use_cpu,
        "dataloader_pin_memory": not use_cpu and torch.cuda.is_available(),
    }


def ours(trainer: Any) -> Any:
    """A trl trainer's class with our learning rate schedule, on one device, and without its message home."""
    import torch

    class Trainer(trainer):  # type: ignore[misc, unused-ignore]
        def __init__(self, *, args: Any, **others: Any) -> None:
            if args.n_gpu > 1:
                args._n_gpu = 1  # one process trains on one GPU; trl refuses DataParallel over all that it sees
            super().__init__(args=args, **others)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            warmup = math.ceil(self.args.warmup_steps * num_training_steps)
            name: Any = self.args.lr_scheduler_type.value
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: rate(name, step, warmup, num_training_steps)
            )
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def _send_telemetry(self) -> None:
            pass

        def let_go(self) -> None:
            """Of all that it holds. With sharded weights it is in a circle that Python's collector does not see."""
            self.__dict__.clear()

    return Trainer


def _steps_callback(progress: StepCallback) -> Any:
    import transformers

    class Steps(transformers.TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(0, state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Steps()


def as_training_error(error: Exception, round_number: int) -> Exception:
    """The error to raise: out of memory gets a message with advice; a programming error stays what it is."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(
            f"Out of memory while training round {round_number}. Halve batch_size and double gradient_accumulation, "
            "set gradient_checkpointing, or use LoRA."
        )
    return error
