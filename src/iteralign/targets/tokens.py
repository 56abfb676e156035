"""Between texts and tokens, the same for every engine.

An engine outside this process is given token ids and not text, so that it continues exactly what the trainer trains on.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from iteralign.records import Generation, Sampling
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel


def encoded(
    model: LocalModel, inputs: Sequence[str], sampling: Sampling
) -> tuple[dict[int, list[int]], dict[int, Generation]]:
    """Token ids by index; and the answer of those that don't fit the context."""
    ids = {index: encode(model.tokenizer, text) for index, text in enumerate(inputs)}
    context = model.context_length
    too_long = {
        index: Generation(text="", finish="prompt_too_long", prompt_tokens=len(prompt), tokens=0)
        for index, prompt in ids.items()
        if context is not None and len(prompt) + sampling.max_new_tokens > context
    }
    return {index: prompt for index, prompt in ids.items() if index not in too_long}, too_long


def end_tokens(model: LocalModel) -> list[int]:
    """Every token that ends an answer: the tokenizer's eos, and what the model's generation settings name besides."""
    named = model.generation_config.eos_token_id
    ends = set(named if isinstance(named, list) else [named]) | {model.tokenizer.eos_token_id}
    return sorted(ends - {None})


def row_seed(seed: int, text: str) -> int:
    """A seed that depends on the run's and on the input alone."""
    digest = hashlib.sha256(f"{seed}\0{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def as_generation(
    tokenizer: Any, prompt_tokens: int, answer: list[int], ends: list[int], stopped: int | None, sampling: Sampling
) -> Generation:
    """The record of one row; `answer` may have padding behind its end, `stopped` is where a stop text ended it."""
    ended = next((index + 1 for index, token in enumerate(answer) if token in ends), None)
    at = min((end for end in (ended, stopped) if end is not None), default=None)
    tokens = len(answer) if at is None else at
    text = decode(tokenizer, answer[:tokens], skip_special_tokens=True)
    cuts = [text.find(stop) for stop in sampling.stop if stop in text]
    return Generation(
        text=text[: min(cuts)] if cuts else text,
        finish="length" if at is None else "stop",
        prompt_tokens=prompt_tokens,
        tokens=tokens,
    )


def decode(tokenizer: Any, ids: list[int], skip_special_tokens: bool) -> str:
    """Text as the tokens say it, spaces untouched."""
    return str(tokenizer.decode(ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False))
