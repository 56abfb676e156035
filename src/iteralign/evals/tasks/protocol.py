"""What both Dromedary tasks share: their texts, the tie-break, the cut of long texts (IBM/Dromedary, mc_evaluation).

The protocol is Dromedary's; the wording of the texts is our own, since its repository is under another licence. To
repeat published numbers exactly, give its wording by `hhh_question` and `truthfulqa_question`, its prompt by
`meta_prompt`.
"""

import hashlib
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from iteralign.errors import ConfigError
from iteralign.prompts import Template, read_template

Pair = tuple[str, str]
"""(context, continuation) whose log-probability is asked for."""


def text_of(name: str, fields: set[str], metadata: dict[str, Any]) -> Template:
    """One of this directory's texts, or the file that the metadata name in its place."""
    own = Path(__file__).with_name(f"{name}.txt")
    return read_template(name, fields, metadata.get(name) or own)


def best(scores: Sequence[float]) -> int:
    """Index of the highest score; a tie is broken by a hash of all scores, so that position does not decide."""
    ties = [index for index, score in enumerate(scores) if score == max(scores)]
    digest = hashlib.sha256(struct.pack(f"<{len(scores)}d", *scores)).hexdigest()
    return ties[int(digest, 16) % len(ties)]


class DromedaryTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """A task whose requests are (context, continuation) pairs that it makes itself and scores together."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    @property
    def metadata(self) -> dict[str, Any]:
        """lm-eval's --metadata, with the model's own arguments."""
        return dict(self.config.metadata or {})

    def pairs(self, doc: dict[str, Any]) -> list[Pair]:
        """What is asked for one document."""
        raise NotImplementedError

    def scores(self, doc: dict[str, Any], log_probabilities: Sequence[float]) -> list[float]:
        """One score for each answer that takes part, the right one first."""
        raise NotImplementedError

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        place = kwargs["metadata"]
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=pair, idx=index, metadata=place)
            for index, pair in enumerate(self.pairs(doc))
        ]

    def process_results(self, doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
        return {"acc": float(best(self.scores(doc, [log_probability for log_probability, _ in results])) == 0)}


class Room:
    """How much of the model's context is free, in tokens, and texts cut to a part of it.

    The metadata name the model (`pretrained`, `tokenizer`, `max_length`, as in lm-eval's model arguments); where they
    name none, as for a served model, nothing is cut.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        model = metadata.get("pretrained")
        self.known = model is not None
        if model is not None:
            self._tokenizer, self.context = _tokenizer_and_context(
                model, metadata.get("tokenizer"), metadata.get("max_length")
            )

    def tokens(self, text: str) -> int:
        """The text's length."""
        return len(self._ids(text))

    def cut(self, text: str, tokens: int) -> str:
        """The text's first `tokens` tokens, with a mark where it was cut."""
        ids = self._ids(text)
        if len(ids) <= tokens:
            return text
        return str(self._tokenizer.decode(ids[:tokens], skip_special_tokens=True)).strip() + "..."

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


@cache
def _tokenizer_and_context(model: str, tokenizer: str | None, max_length: int | None) -> tuple[Any, int]:
    import transformers

    auto: Any = transformers
    read = auto.AutoTokenizer.from_pretrained(tokenizer or model)
    length = max_length or getattr(auto.AutoConfig.from_pretrained(model), "max_position_embeddings", None)
    if length is None:
        raise ConfigError(f"{model} names no context length; give max_length in the model arguments.")
    return read, int(length)
