"""The tokens that all prompts of a batch begin with: run through the model once, not once a row.

Prompts of one form often share a long head: the scripted conversation of a Chain of Utterances, a system message, the same
principles. docs/performance.md has what it saves.
"""

from collections.abc import Sequence
from typing import Any

LEAST = 16
"""Tokens of a head that pay for a forward pass of their own (measured on a CPU; see docs/performance.md)."""


def head_length(prompts: Sequence[list[int]]) -> int:
    """Tokens that all prompts share and that are worth it; 0 for none. Each prompt keeps at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)  # what these two share, all share
    most = min(len(prompt) for prompt in prompts) - 1
    shared = next((place for place in range(most) if first[place] != last[place]), most)
    return shared if shared >= LEAST else 0


def head_cache(network: Any, head: Sequence[int], rows: int, *, padded: bool = True) -> Any:
    """The head's keys and values, for so many rows: a transformers cache, or None where the model needs another kind.

    `padded`: whether padding may follow the head. A sliding window counts slots, and padding would be among them.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    if not network._supports_default_dynamic_cache():
        return None
    cache = DynamicCache(config=network.config.get_text_config(decoder=True))
    fit = (DynamicLayer,) if padded else (DynamicLayer, DynamicSlidingWindowLayer)
    if not cache.layers or any(type(layer) not in fit for layer in cache.layers):
        return None
    ids = torch.tensor([list(head)], device=network.device)
    with torch.no_grad():
        network.base_model(input_ids=ids, past_key_values=cache, use_cache=True)  # without the output layer
    cache.batch_repeat_interleave(rows)
    return cache
