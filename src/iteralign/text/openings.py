"""How answers open: a model that has learnt one sentence for all questions of a kind shows it there."""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import islice

from iteralign.text.refusals import is_refusal

_WORDS = 6
"""Of 100 answers of SmolLM2-135M to HarmfulQA three open alike by so many words, and twelve by three (docs/log.md)."""


def opening(text: str) -> str | None:
    """The first six words in lower case, without punctuation; None for a text with fewer, and for one that declines, since a
    refusal may open as all others do."""
    words = first_words(text)
    return None if words is None or is_refusal(text) else words


def first_words(text: str) -> str | None:
    """The same of any text. Telling whether it declines takes forty times as long."""
    words = [found[0].casefold() for found in islice(re.finditer(r"\w+", text), _WORDS)]
    return " ".join(words) if len(words) == _WORDS else None


def open_alike(texts: Mapping[str, str]) -> dict[str, bool]:
    """Which of the texts have the commonest opening; none where no two open alike."""
    openings = {key: opening(text) for key, text in texts.items()}
    counts = Counter(found for found in openings.values() if found is not None).most_common(1)
    commonest = counts[0][0] if counts and counts[0][1] > 1 else None
    return {key: found is not None and found == commonest for key, found in openings.items()}
