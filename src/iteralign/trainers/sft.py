"""Supervised fine-tuning in this process, on the resident weights (paper section 3.5), by trl's SFTTrainer.

Each round starts from the weights that the last one left in memory; the same round started from the checkpoint on disk
gives the same weights, bit for bit on a CPU.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from iteralign import layout
from iteralign.activity import tell
from iteralign.errors import TrainingDiverged, TrainingError
from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import Method, Scheduler, TrainingSettings
from iteralign.trainers.restoring import collecting_only_new_objects, restored
from iteralign.trainers.rows import TokenRow, make_rows
from iteralign.trainers.tracking import Tracking
from iteralign.weights.model import LocalModel
from iteralign.weights.writing import not_finite

StepCallback = Callable[[int, int], None]
"""Called with (optimiser steps done, steps in all)."""

KEPT: dict[Method, tuple[Literal["adapter", "full"], str]] = {
    "lora": ("adapter", layout.ADAPTER),
    "full": ("full", layout.FULL_WEIGHTS),
}
"""Kind of a method's checkpoints, and the directory that they have in their round."""
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class SFT(Trainer):
    """Loss on the answer only; the weights stay where the target has them."""

    def __init__(
        self, model: LocalModel, settings: TrainingSettings, seed: int, tracking: Tracking | None = None
    ) -> None:
        """Round r trains with `seed` + r: order of rows, dropout, first weights of an adapter."""
        self.model = model
        self.settings = settings
        self.seed = seed
        self.tracking = tracking

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`; writes directory/adapter (LoRA) or directory/checkpoint (full, in the background).

        With `start` loaded again, TrainingDiverged when a loss or weight is not finite, TrainingError when memory
        runs out.
        """
        check_start(start, self.settings.method)
        rows = make_rows(self.model, examples, self.settings.max_length)
        seed = self.seed + round_number
        kind, place = KEPT[self.settings.method]
        try:
            with self.model.training(start) as resident:
                trainee = self._trainee(resident, start, seed)
                loss, steps, history = train(
                    trainee,
                    self.model.tokenizer,
                    rows,
                    self.settings,
                    seed,
                    self.model.device == "cpu",
                    self.model.arithmetic.autocast,
                    log_steps=bool(self.tracking),
                    progress=partial(tell, "training"),
                )
                if self.tracking:
                    self.tracking.training(round_number, start.total_steps, history)
                trained = [(name, value) for name, value in trainee.named_parameters() if value.requires_grad]
                check_finite(loss, trained, round_number)
                path = self.model.write(directory / place)
        except Exception as error:
            raise as_training_error(error, round_number) from error
        checkpoint = Checkpoint(
            kind=kind,
            path=path,
            round=round_number,
            start=start.path,
            examples=len(examples),
            steps=steps,
            total_steps=start.total_steps + steps,
            tokens=sum(len(row.input_ids) for row in rows) * self.settings.epochs,
            loss=loss,
        )
        self.model.holds(checkpoint)
        return checkpoint

    def _trainee(self, resident: Any, start: Checkpoint, seed: int) -> Any:
        """The resident weights, those of `start`, ready to be trained."""
        import transformers

        if self.settings.method == "lora":
            if start.kind == "adapter":
                return resident
            transformers.set_seed(seed)
            return self.model.add_adapter(self._lora(resident))
        if self.model.dtype != "float32":
            raise TrainingError(
                f"Full fine-tuning needs its weights in float32, they are in {self.model.dtype}: steps of a usual size "
                "would be lost in rounding. Set the model's dtype to float32, or use LoRA."
            )
        return resident.requires_grad_(True)

    def _lora(self, network: Any) -> Any:
        import peft

        present = {name.rpartition(".")[2] for name, _ in network.named_modules()}
        return peft.LoraConfig(
            task_type=peft.TaskType.CAUSAL_LM,
            r=self.settings.lora_r,
            lora_alpha=self.settings.lora_alpha,
            lora_dropout=self.settings.lora_dropout,
            target_modules=list(_ATTENTION) if present.issuperset(_ATTENTION) else "all-linear",
            fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in network.modules()),  # GPT-2's layers
        )


def check_start(start: Checkpoint, method: Method) -> None:
    """TrainingError when weights of this kind can't be trained on by this method."""
    refused = {"lora": "full", "full": "adapter"}[method]
    if start.kind == refused:
        raise TrainingError(
            f"{start.path} is a checkpoint of kind {start.kind}, which method {method} can't train on from. Keep one "
            "method for a whole run, or export that checkpoint and start a new run from it."
        )


def train(
    trainee: Any,
    tokenizer: Any,
    rows: Sequence[TokenRow],
    settings: TrainingSettings,
    seed: int,
    use_cpu: bool,
    autocast: bool,
    log_steps: bool,
    progress: StepCallback | None = None,
    finish: Callable[[Any, float], None] | None = None,
    **arguments: Any,
) -> tuple[float, int, list[dict[str, Any]]]:
    """Train in place; returns (mean loss, optimiser steps, log of the steps). The model is in eval mode and otherwise as
    before after it.

    `autocast`: multiply in bfloat16, whatever the weights are. `log_steps`: keep transformers' log of every step.
    `finish` is called with trainer and loss while it still holds the model wrapped or sharded; `arguments` go to SFTConfig.
    """
    import datasets  # type: ignore[import-untyped, unused-ignore]
    import transformers

    with (
        tempfile.TemporaryDirectory(prefix="iteralign-sft-") as scratch,
        restored(trainee),
        collecting_only_new_objects(),
    ):
        trainer = _trainer_class()(
            model=trainee,
            args=_config(
                settings,
                seed,
                use_cpu,
                output_dir=scratch,
                logging_strategy="steps" if log_steps else "no",
                bf16=autocast,
                padding_free=packs(trainee.config),
                **arguments,
            ),
            processing_class=tokenizer,
            train_dataset=datasets.Dataset.from_list([dataclasses.asdict(row) for row in rows]),
            callbacks=[_steps_callback(progress)] if progress else [],
        )
        trainer.remove_callback(transformers.PrinterCallback)  # prints to stdout
        output = trainer.train()
        if finish is not None:
            finish(trainer, float(output.training_loss))
        return float(output.training_loss), int(trainer.state.global_step), list(trainer.state.log_history)


def packs(config: Any) -> bool:
    """Whether rows may stand behind each other in one long row instead of being padded: with the flash kernels, which keep
    them apart. So does a mask, but it makes the long row cost more than the padding (15% on a CPU, docs/log.md)."""
    return str(config._attn_implementation).startswith("flash")


def check_finite(loss: float, weights: Iterable[tuple[str, Any]], round_number: int) -> None:
    """TrainingDiverged unless the loss and all weights are finite."""
    broken = not_finite(weights)
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


def _config(settings: TrainingSettings, seed: int, use_cpu: bool, **arguments: Any) -> Any:
    """The only place where trl is told of our settings."""
    import torch
    from trl.trainer.sft_config import SFTConfig

    config = SFTConfig(
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",  # the run's own trackers are told afterwards
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,  # below 1 a share, see create_scheduler
        gradient_checkpointing=settings.gradient_checkpointing,  # trl reads this name, transformers the next
        activation_checkpointing=settings.gradient_checkpointing,
        seed=seed,
        data_seed=seed,
        use_cpu=use_cpu,
        dataloader_pin_memory=not use_cpu and torch.cuda.is_available(),
        **arguments,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # one process trains on one GPU; trl refuses DataParallel over all that it sees
    return config


def _trainer_class() -> Any:
    """SFTTrainer with our learning rate schedule, and without its message home."""
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    class Trainer(SFTTrainer):  # type: ignore[misc, unused-ignore]
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
