"""What a run's weights take, on the devices and in the machine's own memory: by arithmetic, nothing is loaded."""

import math
from dataclasses import dataclass

from iteralign.settings.settings import Settings

_PROCESS = {"cpu": 2**29, "cuda": 2 * 2**30}
"""Bytes of the machine's memory that a further process takes for its libraries."""
_WRITTEN = 2**30
"""Of a file of sharded weights at most, which the process that writes holds."""


@dataclass(frozen=True)
class Memory:
    """Bytes; what activations take comes on top."""

    training: int
    """Weights, gradients and optimiser, of all training processes together."""
    process: int
    """The same in each training process, and so on each device."""
    host: int
    """In the machine's memory."""


def memory_of(settings: Settings, device: str, *, parameters: int, trained: int, width: int, generating: int) -> Memory:
    """`width` and `generating`: bytes of a number of the weights in training, and of those that generate."""
    how, weights = settings.training, parameters * width
    # AdamW keeps two moments in float32 beside weights and gradients (16 bytes a trained parameter in all).
    beside = trained * (12 if how.method == "full" else 16)
    if how.method == "full" and how.objective == "distill":
        weights *= 2  # the teacher's
    whole = weights + beside
    if how.processes == 1:
        training, process = whole, whole
    elif not how.sharded:
        training, process = how.processes * whole, whole
    else:
        own = beside if how.method == "lora" else 0  # an adapter is whole in each process
        process = math.ceil((whole - own) / how.processes) + own
        training = process * how.processes
    return Memory(training, process, _host(settings, device, training, parameters * width, parameters * generating))


def _host(settings: Settings, device: str, training: int, weights: int, generating: int) -> int:
    how, apart = settings.training, settings.training.processes > 1
    further = how.processes * _PROCESS["cuda" if device == "cuda" else "cpu"] + _WRITTEN if apart else 0
    engine = settings.model.engine == "vllm"
    if device != "cuda":
        return training + further + (generating if apart or engine else 0)
    set_aside = weights if engine or (apart and how.method == "lora") else 0
    return further + set_aside + (generating if engine else 0)  # what sleeps
