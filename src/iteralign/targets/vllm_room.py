"""What a vLLM engine is given: how much of a GPU, and the rank of its adapters."""

from typing import Any

from iteralign.errors import ConfigError, TargetError
from iteralign.weights.sizes import cached_numbers

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM's own steps; it refuses what lies between."""
_LEFT = 2 * 2**30
"""Bytes of the GPU that the engine leaves: what the trainer's libraries keep there, though its weights are away."""
_WORKSPACE = 2**30
"""Bytes that the engine needs besides weights and cache, for activations."""
_AT_ONCE = 256
"""Answers that vLLM works on at once, unless told otherwise ..."""
_TOKENS = 2048
"""... each with its prompt, of so many tokens at most."""
_MOST = 0.95


def lora_rank(rank: int) -> int:
    """The step that adapters of this rank fit into. Raises ConfigError."""
    step = next((step for step in RANKS if step >= rank), None)
    if step is None:
        raise ConfigError(
            f"training.lora_r {rank} is more than vLLM serves ({RANKS[-1]}). Lower it, or change model.engine."
        )
    return step


def cache_bytes(config: Any, width: int) -> int:
    """That a token's keys and values take; `config` is the text model's, `width` the bytes of a number."""
    return cached_numbers(config) * width


def wanted_bytes(weights: int, token: int, context: int) -> int:
    """Of a GPU, for an engine with its usual number of answers at once."""
    return weights + _WORKSPACE + token * _AT_ONCE * min(context, _TOKENS)


def memory_share(*, total: int, free: int, weights: int, token: int, context: int) -> float:
    """Of a GPU with so many bytes, for an engine with such weights: what its usual number of answers needs at once, within what
    is free. The trainer's own weights are not on the GPU meanwhile. Raises TargetError where not even one answer has room."""
    usable = min(free - _LEFT, int(_MOST * total))
    least = weights + _WORKSPACE + token * context
    if least > usable:
        raise TargetError(
            f"vLLM does not fit on the GPU: {_size(weights)} of weights, {_size(token * context)} for one answer's cache and "
            f"{_size(_WORKSPACE)} to work with, {_size(max(usable, 0))} to be had. Choose a smaller model or lower "
            "sampling.max_new_tokens, free the GPU, or set model.vllm.memory."
        )
    return round(max(least, min(wanted_bytes(weights, token, context), usable)) / total, 3)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
