"""How likely a model finds a text: one forward pass, no generation."""

from collections.abc import Sequence
from typing import Any

from iteralign.activity import tell
from iteralign.weights.files import encode

_MOST_LOGITS = 1 << 26
"""Of a batch: 256 MiB in float32."""


def mean_log_probabilities(
    network: Any, tokenizer: Any, inputs: Sequence[str], completions: Sequence[str], context: int | None, device: str
) -> list[float]:
    """Mean log-probability of a token of each completion after its input; NaN for one without a token.

    What does not fit the context is cut off the completion's end.
    """
    pairs = token_pairs(tokenizer, inputs, completions, context)
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]) + len(pairs[index][1]))
    vocabulary = network.get_input_embeddings().weight.shape[0]
    shortest = min((len(prompt) for prompt, _ in pairs), default=0)
    scores: dict[int, float] = {}
    while order:
        tell("scoring", len(scores), len(pairs))
        width = len(pairs[order[-1]][0]) + len(pairs[order[-1]][1])
        rows = max(1, min(32, _MOST_LOGITS // ((width - shortest + 1) * vocabulary)))
        batch, order = order[-rows:], order[:-rows]
        scores |= zip(batch, _batch(network, [pairs[index] for index in batch], device), strict=True)
    return [scores[index] for index in range(len(pairs))]


def token_pairs(
    tokenizer: Any, inputs: Sequence[str], completions: Sequence[str], context: int | None
) -> list[tuple[list[int], list[int]]]:
    """Each input's token ids and its completion's, which is cut at the end to what the context takes."""
    pairs = [_ids(tokenizer, text, completion) for text, completion in zip(inputs, completions, strict=True)]
    return [(prompt, answer[: max(0, context - len(prompt))] if context else answer) for prompt, answer in pairs]


def _ids(tokenizer: Any, text: str, completion: str) -> tuple[list[int], list[int]]:
    """As in training: the completion's ids are those behind its input, unless the two would merge into one token."""
    prompt, together = encode(tokenizer, text), encode(tokenizer, text + completion)
    if together[: len(prompt)] == prompt:
        return prompt, together[len(prompt) :]
    return prompt, list(tokenizer(completion, add_special_tokens=False, verbose=False)["input_ids"])


def _batch(network: Any, pairs: Sequence[tuple[list[int], list[int]]], device: str) -> list[float]:
    import torch

    width = max(len(prompt) + len(answer) for prompt, answer in pairs)
    first = max(0, min(len(prompt) for prompt, _ in pairs) - 1)
    keep = {"logits_to_keep": width - first} if network._supports_logits_to_keep() else {}
    rows = [prompt + answer for prompt, answer in pairs]
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    with torch.no_grad():
        scores = network(input_ids=ids, attention_mask=mask, use_cache=False, **keep).logits
        logits = scores[:, first - width : -1].float()  # of what comes after the shortest prompt
        chosen = logits.gather(2, ids[:, first + 1 :, None])[:, :, 0] - logits.logsumexp(dim=2)
    spans = [(len(prompt) - 1 - first, len(prompt) + len(answer) - 1 - first) for prompt, answer in pairs]
    return [float(chosen[row, begin:end].mean()) for row, (begin, end) in enumerate(spans)]
