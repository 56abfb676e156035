"""Training rows: token ids exactly as in generation, with loss on the answer alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from iteralign.errors import TrainingError
from iteralign.records import TrainingExample
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """One training row: token ids, and labels that are -100 wherever no loss is taken."""

    input_ids: list[int]
    labels: list[int]


def make_rows(model: LocalModel, examples: Sequence[TrainingExample], max_length: int) -> list[TokenRow]:
    """Token ids exactly as in generation: the prompt's, then the answer's and eos, on which alone loss is taken.

    A row longer than `max_length` (or the context) loses the end of its answer, eos with it, so that nobody learns to
    stop there. TrainingError names prompts that leave no room for an answer at all.
    """
    if not examples:
        raise TrainingError("There are no examples to train on.")
    limit = min(max_length, model.context_length or max_length)
    rows = []
    for example in examples:
        prompt, completion = _tokens(model.tokenizer, example)
        if len(prompt) >= limit:
            raise TrainingError(
                f"The prompt {example.prompt_id} has {len(prompt)} tokens, which leaves no room for an answer in rows "
                f"of {limit}. Raise max_length, or leave long prompts out of the data."
            )
        ids = (prompt + completion)[:limit]
        rows.append(TokenRow(input_ids=ids, labels=[-100] * len(prompt) + ids[len(prompt) :]))
    return rows


def _tokens(tokenizer: Any, example: TrainingExample) -> tuple[list[int], list[int]]:
    """Ids of prompt and answer, eos included.

    The answer's ids are those it has behind its prompt. Where prompt and answer would merge into one token, the answer
    is tokenised by itself: in generation too, the prompt's tokens stand before the answer begins.
    """
    prompt = encode(tokenizer, example.prompt)
    together = encode(tokenizer, example.prompt + example.completion)
    if together[: len(prompt)] == prompt:
        completion = together[len(prompt) :]
    else:
        completion = list(tokenizer(example.completion, add_special_tokens=False, verbose=False)["input_ids"])
    eos = tokenizer.eos_token_id
    if eos is not None and completion[-1:] != [eos]:
        completion = [*completion, eos]
    return prompt, completion
