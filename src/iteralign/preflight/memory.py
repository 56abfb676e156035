"""What a run's weights take, on the devices and in the machine's own memory: by arithmetic, nothing is loaded."""

import math
from dataclasses import dataclass

from iteralign.settings.settings import Settings
from iteralign.targets.vllm_room import wanted_bytes

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
    answering: int
    """On each device that answers: the weights, and with vLLM the cache of as many answers as it likes to have at once."""


def memory_of(
    settings: Settings,
    device: str,
    *,
    parameters: int,
    trained: int,
    width: int,
    generating: int,
    cached: int = 0,
    context: int | None = None,
) -> Memory:
    """`width` and `generating`: bytes of a number of the weights in training, and of those that generate. `cached` and
    `context` are those of Sizes."""
    how, weights = settings.training, parameters * width
    # AdamW keeps two moments in float32 beside weights and gradients (16 bytes a trained parameter in all).
    beside = trained * (12 if how.method == "full" else 16)
    if how.method == "full" and how.objective == "distill":
        weights *= 2  # the teacher's
    whole = weights + beside
    processes = settings.training_processes
    if processes == 1:
        training, process = whole, whole
    elif not how.sharded:
        training, process = processes * whole, whole
    else:
        own = beside if how.method == "lora" else 0  # an adapter is whole in each process
        process = math.ceil((whole - own) / processes) + own
        training = process * processes
    host = _host(settings, device, training, parameters * width, parameters * generating)
    return Memory(training, process, host, _answering(settings, parameters, generating, cached, context))


def answering_devices(settings: Settings) -> int:
    """Devices of this machine that answer: those of its replicas; none where a server or another machine does."""
    if settings.model.engine == "served":
        return 0
    if settings.cluster.address is None:
        return settings.cluster.tensor_parallel
    return settings.cluster.replicas * settings.cluster.tensor_parallel if settings.cluster.address == "local" else 0


def _answering(settings: Settings, parameters: int, generating: int, cached: int, context: int | None) -> int:
    if settings.model.engine == "served":
        return 0
    weights = parameters * generating
    if settings.model.engine == "vllm":
        weights = wanted_bytes(weights, cached * generating, context or 4096)
    return math.ceil(weights / settings.cluster.tensor_parallel)


def _host(settings: Settings, device: str, training: int, weights: int, generating: int) -> int:
    how, on_cluster = settings.training, settings.cluster.training_gpus is not None
    elsewhere = on_cluster and settings.cluster.address != "local"
    apart = settings.trains_apart and not elsewhere
    library = _PROCESS["cuda" if device == "cuda" else "cpu"]
    further = settings.training_processes * library + _WRITTEN if apart else 0
    engine = settings.model.engine == "vllm"
    if settings.cluster.address:
        own = (generating + library) * (answering_devices(settings) // settings.cluster.tensor_parallel)
    else:
        own = generating if engine else 0
    if device != "cuda":
        return (0 if elsewhere else training) + further + (own or (generating if apart else 0))
    set_aside = weights if not on_cluster and (engine or (apart and how.method == "lora")) else 0
    return further + set_aside + own  # what sleeps
