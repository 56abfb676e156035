"""Settings of training: what is trained on, and how."""

import logging
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from iteralign.settings.section import Section

Method = Literal["lora", "full"]
Scheduler = Literal["cosine", "linear", "constant"]
Objective = Literal["sft", "dpo", "distill"]


class DpoSettings(Section):
    """Objective dpo: the verified revision is preferred to the failed answer, and on benign prompts the base model's answer
    to a refusal."""

    beta: float = Field(default=0.1, gt=0, le=1000)
    """What it costs to move away from the reference weights. The lower it is, the further the model moves."""
    sft_weight: float = Field(default=0.2, ge=0, le=1000)
    """Weight of sft's loss on the preferred answers. Without it they can become less likely together with the others."""
    reference: Literal["round", "base"] = "round"
    """The weights to compare with: those that the round begins with, or the base model's."""
    max_drop: float | None = Field(default=0.2, ge=0, le=1000)
    """Nats per token by which the preferred answers may become less likely. Beyond it the round's training is thrown away.
    null allows any."""


class DistillSettings(Section):
    """Objective distill: the model answers by itself, and learns at each token of its answer what the base model says there
    that has the principles in its context."""

    max_new_tokens: int = Field(default=128, gt=0, le=100_000_000)
    """Tokens of an answer in training at most, and as many as the longest prompt leaves room for."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """0: learn to say all that the teacher may say. 1: to say nothing that it would not. Between: some of both."""


class TrainingSettings(Section):
    """Fine-tuning on prompts without the constitution."""

    objective: Objective = "sft"
    """sft learns the verified revisions by heart. dpo learns to prefer them to the failed answers. distill learns to answer
    without the principles as the base model does with them."""
    method: Method = "lora"
    """lora trains adapters beside the weights, full trains all weights."""
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    """The highest learning rate. Full fine-tuning wants a lower one, such as 2e-6."""
    epochs: int = Field(default=3, gt=0, le=10_000)
    """Times that a round's rows are trained on."""
    batch_size: int = Field(default=8, gt=0, le=100_000)
    """Rows per optimiser step and device, before accumulation."""
    gradient_accumulation: int = Field(default=1, gt=0, le=100_000)
    """Batches whose gradients are summed for one optimiser step."""
    max_length: int = Field(default=1024, gt=0, le=100_000_000)
    """Tokens of a row at most."""
    answer_tokens: int | None = Field(default=None, gt=0, le=100_000_000)
    """Tokens of each answer that are learnt, from its first on: there it is decided whether a model declines. null learns
    answers to their end. Objective distill has distill.max_new_tokens in its place."""
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0, le=100)
    """Weight decay of the optimiser, AdamW."""
    scheduler: Scheduler = "cosine"
    """How the learning rate goes on after the warm-up."""
    lora_r: int = Field(default=16, gt=0, le=100_000)
    """Rank of the adapters. It sets their size, and what they can learn."""
    lora_alpha: int = Field(default=32, gt=0, le=10_000_000)
    """Weight of the adapters, which are scaled by lora_alpha / lora_r."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapters' inputs that is left out at each step."""
    gradient_checkpointing: bool = False
    """Compute activations again in place of keeping them. It takes less memory and more time."""
    replay: float = Field(default=1.0, ge=0, le=1000)
    """Pairs of earlier rounds to train on again, as a share of this round's verified revisions ..."""
    min_replay: int = Field(default=16, ge=0)
    """... and at least this many, if there are so many. Late rounds have few failures, and the model would unlearn."""
    benign_share: float = Field(default=1.0, ge=0, le=1000)
    """Benign pairs (the base model's own answers) to train on, as a share of the round's verified revisions and the pairs of
    earlier rounds together ..."""
    min_benign: int = Field(default=16, ge=0)
    """... and at least this many, if there are so many."""
    processes: int = Field(default=1, gt=0, le=1024)
    """Processes on this machine that train together, one a GPU. They live on from round to round."""
    sharded: bool = True
    """Whether each of several processes holds only its part of the weights (FSDP), so that larger models fit. false: a copy
    each, which objective distill needs."""
    keep: Literal["all", "last"] = "last"
    """Which rounds' full weights stay on disk: of all, or of the last and the best. Adapters are always kept."""
    report_to: tuple[str, ...] = ()
    """Trackers to tell: tensorboard (in RUN/tensorboard), wandb, mlflow, trackio. They get the scoreboard by round and the
    loss by step. Their packages must be installed; their own environment variables hold."""
    dpo: DpoSettings = DpoSettings()
    """What objective dpo needs to know."""
    distill: DistillSettings = DistillSettings()
    """What objective distill needs to know."""

    @model_validator(mode="after")
    def _no_dropout_beside_a_reference(self) -> "TrainingSettings":
        if self.objective != "sft" and self.lora_dropout > 0:
            raise ValueError(
                f"objective {self.objective} compares with weights that leave nothing out: set lora_dropout to 0"
            )
        return self

    @field_validator("keep", mode="before")
    @classmethod
    def _none_is_no_more(cls, value: Any) -> Any:
        if value != "none":
            return value
        logging.getLogger(__name__).warning(
            "training.keep: none is no longer there, since resuming such a run trained its rounds again: last is taken."
        )
        return "last"
