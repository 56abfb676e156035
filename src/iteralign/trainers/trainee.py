"""What is trained of a model: all its weights, or an adapter beside them."""

from typing import Any

from iteralign.errors import TrainingError
from iteralign.records import Checkpoint
from iteralign.settings.training import Method, TrainingSettings
from iteralign.weights.model import LocalModel

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def trainee(model: LocalModel, resident: Any, settings: TrainingSettings, start: Checkpoint, seed: int) -> Any:
    """The resident weights, those of `start`, ready to be trained. TrainingError where they can't be."""
    import transformers

    if settings.method == "lora":
        if start.kind == "adapter":
            return resident
        transformers.set_seed(seed)
        return model.add_adapter(lora(resident, settings))
    if model.dtype != "float32":
        raise TrainingError(
            f"Full fine-tuning needs its weights in float32, they are in {model.dtype}: steps of a usual size "
            "would be lost in rounding. Set the model's dtype to float32, or use LoRA."
        )
    return resident.requires_grad_(True)


def lora(network: Any, settings: TrainingSettings) -> Any:
    """peft's config of the adapters."""
    import peft

    present = {name.rpartition(".")[2] for name, _ in network.named_modules()}
    return peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
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
