"""A model of this process as lm-evaluation-harness sees it: lm-eval's own, which runs what many requests begin with once.

The questions of one task often stand behind the same text: examples, a description, Dromedary's meta prompt. lm-eval runs that
text again for every choice, with the scores of every token. docs/performance.md has what is saved.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM

from iteralign.activity import tell
from iteralign.targets.shared_head import head_cache, head_length

Request = tuple[tuple[str, str], list[int], list[int]]
"""lm-eval's: (the two texts, ids of the context, ids of the continuation)."""

_GROUP_BY = 64
"""First tokens by which requests belong together."""


class SharedHeadLM(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """lm-eval's HFLM; how far it is can be heard (iteralign.activity)."""

    def __init__(self, network: Any, tokenizer: Any, batch_size: int) -> None:
        super().__init__(pretrained=network, tokenizer=tokenizer, batch_size=batch_size)
        self._head = 0
        """Tokens that all requests at hand begin with, none of which is asked for."""
        self._cache: Any = None
        """The head's keys and values, for one row."""
        self._asked = 0
        """Tokens at the end of a request for which scores are asked for, at most."""
        self._done = self._total = 0

    def _loglikelihood_tokens(self, requests: Sequence[Request], **kwargs: Any) -> list[tuple[float, bool]]:
        """(sum of log-probabilities, whether it is the greedy one) of each continuation."""
        rows = [self._row(request) for request in requests]
        self._done, self._total = 0, len(set(map(tuple, rows)))
        found: dict[int, tuple[float, bool]] = {}
        for places in _alike(rows, int(self.batch_size)):
            group = [requests[place] for place in places]
            alike = [rows[place] for place in places]
            self._asked = max(len(rest) for _, _, rest in group)
            self._read_head(alike, min(len(row) - len(rest) for row, (_, _, rest) in zip(alike, group, strict=True)))
            found |= zip(places, super()._loglikelihood_tokens(group, **kwargs), strict=True)
        return [found[place] for place in range(len(requests))]

    def _row(self, request: Request) -> list[int]:
        """What lm-eval runs for it: of one that is too long, the end."""
        _, context, rest = request
        return (context + rest)[-(self.max_length + 1) :][:-1]

    def _read_head(self, rows: Sequence[list[int]], most: int) -> None:
        """Run what all rows begin with; of the tokens behind `most` scores are asked for."""
        head = min(head_length(rows), most)
        self._cache = head_cache(self.model, rows[0][:head], 1, padded=False) if head > 0 else None
        self._head = 0 if self._cache is None else head

    def _model_call(self, inps: Any, attn_mask: Any = None, labels: Any = None) -> Any:
        """Scores (rows, positions, vocabulary) of the last positions: of the first one that is asked for, and what follows."""
        import torch

        tell("scoring", self._done, self._total)
        self._done += len(inps)
        cache = copy.deepcopy(self._cache)
        if cache is not None:
            cache.batch_repeat_interleave(len(inps))
        wanted = {}
        if self.model._supports_logits_to_keep():
            # A row that ends in zeros of its own seems shorter, and more of it is kept.
            shortest = min(
                len(row) - next((n for n, one in enumerate(reversed(row)) if one), len(row)) for row in inps.tolist()
            )
            wanted["logits_to_keep"] = inps.shape[1] - max(self._head, shortest - self._asked)
        with torch.no_grad():
            return self.model(
                input_ids=inps[:, self._head :], past_key_values=cache, use_cache=cache is not None, **wanted
            ).logits

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answer to each request."""
        self._done, self._total = 0, len(requests)
        answers: list[str] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return answers

    def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        tell("answering", self._done, self._total)
        self._done += len(context)
        return super()._model_generate(context, *args, **kwargs)


def _alike(rows: Sequence[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of rows that begin alike; those too few for a batch of their own come together at the end."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(tuple(row[:_GROUP_BY]), []).append(place)
    few = [place for places in groups.values() if len(places) < batch_size for place in places]
    yield from (places for places in groups.values() if len(places) >= batch_size)
    if few:
        yield few
